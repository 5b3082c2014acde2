package main

import (
	"bytes"
	"strconv"
	"strings"
	"syscall"
)

// Publisher is a persistent connection, with at most one request under way.
type Publisher struct {
	fd       int
	busy     bool
	sentNs   int64
	sequence int
	// How many consumers each message of this publisher has reached.
	reached []int32
	body    Body
	answer  []byte
}

func (l *Load) newPublisher(number int) {
	p := &l.publishers[number]
	l.connectPublisher(number)
	publish := l.plan.Publish
	if len(publish.Paths) > 0 {
		publish.Path = publish.Paths[number%len(publish.Paths)]
	}
	p.body = newBody(publish, l.plan.Host, l.plan.Batch, l.plan.Bytes)
	if len(p.body.stamps) != l.plan.Batch {
		fail("a request has room for %d messages and not %d", len(p.body.stamps), l.plan.Batch)
	}
}

func (l *Load) connectPublisher(number int) {
	p := &l.publishers[number]
	p.fd = newSocket()
	must(syscall.SetNonblock(p.fd, false))
	must(syscall.Connect(p.fd, l.publishAddresses[number%len(l.publishAddresses)]))
	must(syscall.SetNonblock(p.fd, true))
	l.answers.watch(p.fd, int32(number), false)
}

func (l *Load) reconnectPublisher(number int) {
	must(syscall.Close(l.publishers[number].fd))
	l.connectPublisher(number)
}

// publish sends one request, whose messages carry the moment as the time they were sent.
func (l *Load) publish(number int, moment int64, warming bool) {
	p := &l.publishers[number]
	for _, at := range p.body.stamps {
		stamp := Stamp{number, p.sequence, moment}
		if warming {
			stamp = Stamp{warmUp, 0, moment}
		} else {
			p.sequence++
			p.reached = append(p.reached, 0)
			l.result.Published++
			if l.reading > 0 {
				l.inFlight++
			}
		}
		stamp.put(p.body.request[at:])
	}
	p.busy, p.sentNs = true, moment
	for request := p.body.request; len(request) > 0; {
		count, errno := write(p.fd, request)
		if errno == syscall.EAGAIN {
			continue
		}
		check(errno)
		request = request[count:]
	}
}

// answered reads an answer, or a part of it.
func (l *Load) answered(number int) {
	p := &l.publishers[number]
	count, errno := read(p.fd, l.buffer)
	if errno == syscall.EAGAIN {
		return
	}
	if (errno != 0 || count == 0) && !p.busy {
		// Servers close connections that have been idle for some seconds.
		l.reconnectPublisher(number)
		return
	}
	if errno != 0 || count == 0 {
		fail("the server closed the connection of a publisher: %v", errno)
	}
	p.answer = append(p.answer, l.buffer[:count]...)
	if !isWhole(p.answer) {
		return
	}
	if !bytes.HasPrefix(p.answer, []byte("HTTP/1.1 2")) {
		l.result.Refused++
		fail("a publish was refused: %.300q", p.answer)
	}
	l.acknowledged.Record(now() - p.sentNs)
	l.lastAnswer = now()
	if l.counting {
		l.result.AcknowledgedAt[number%len(l.publishAddresses)] += l.plan.Batch
	}
	if bytes.Contains(bytes.ToLower(p.answer), []byte("\r\nconnection: close\r\n")) {
		// Pushpin takes one request per connection.
		l.reconnectPublisher(number)
	}
	p.answer = p.answer[:0]
	p.busy = false
}

// idlePublisher returns the first publisher without a request under way, or -1.
func (l *Load) idlePublisher() int {
	for number := range l.publishers {
		if !l.publishers[number].busy {
			return number
		}
	}
	return -1
}

// isWhole returns whether an answer is complete.
func isWhole(answer []byte) bool {
	end := bytes.Index(answer, headEnd)
	if end < 0 {
		return false
	}
	head, body := strings.ToLower(string(answer[:end])), answer[end+len(headEnd):]
	if at := strings.Index(head, "content-length:"); at >= 0 {
		value, _, _ := strings.Cut(head[at+len("content-length:"):], "\r\n")
		length, err := strconv.Atoi(strings.TrimSpace(value))
		must(err)
		return len(body) >= length
	}
	if strings.Contains(head, "transfer-encoding: chunked") {
		return bytes.HasSuffix(body, []byte("0\r\n\r\n"))
	}
	return true
}
