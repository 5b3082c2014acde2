package main

import (
	"bytes"
	"encoding/binary"
	"syscall"
)

// Stage is how far a consumer has come.
type Stage uint8

const (
	away Stage = iota
	connecting
	opening
	open
	stalled
)

// Consumer is one stream.
type Consumer struct {
	fd     int
	stage  Stage
	warmed bool
	// The beginning of a message or a frame whose rest has not come yet.
	carry []byte
	// The id to resume after; kept only if a storm is planned.
	lastID []byte
}

var (
	headEnd     = []byte("\r\n\r\n")
	idField     = []byte("id: ")
	wordResumed = []byte(`"event":"resumed"`)
	wordGap     = []byte(`"event":"gap"`)
	wordReset   = []byte(`"event":"reset"`)
)

const (
	opText  = 0x1
	opClose = 0x8
	opPing  = 0x9
	// The receive buffer of a consumer that stalls, in bytes.
	stalledRoom  = 4096
	retryAfterNs = 1_000_000_000
)

// connect starts to connect a consumer, and does not wait.
func (l *Load) connect(number int) {
	c := &l.consumers[number]
	c.fd = newSocket()
	if number < l.plan.Stalled {
		must(syscall.SetsockoptInt(c.fd, syscall.SOL_SOCKET, syscall.SO_RCVBUF, stalledRoom))
	}
	err := syscall.Connect(c.fd, l.addresses[number%len(l.addresses)])
	if err != nil && err != syscall.EINPROGRESS {
		fail("connecting: %v", err)
	}
	c.stage = connecting
	c.carry = c.carry[:0]
	l.poller.watch(c.fd, int32(number), true)
}

func (l *Load) ready(number int, events uint32) {
	c := &l.consumers[number]
	switch c.stage {
	case connecting:
		if events&syscall.EPOLLOUT != 0 || events&(syscall.EPOLLERR|syscall.EPOLLHUP) != 0 {
			l.request(number, c)
		}
	case opening, open:
		l.receive(number, c)
	}
}

func (l *Load) request(number int, c *Consumer) {
	if status, err := syscall.GetsockoptInt(c.fd, syscall.SOL_SOCKET, syscall.SO_ERROR); err != nil || status != 0 {
		l.comeBack(number, c)
		return
	}
	request := l.opening
	if len(c.lastID) > 0 {
		request = append([]byte(nil), l.opening[:len(l.opening)-2]...)
		request = append(append(append(request, "Last-Event-ID: "...), c.lastID...), "\r\n\r\n"...)
	}
	if _, errno := write(c.fd, request); errno != 0 {
		l.comeBack(number, c)
		return
	}
	c.stage = opening
	l.poller.change(c.fd, int32(number), false)
}

// comeBack makes a consumer connect again a second later.
func (l *Load) comeBack(number int, c *Consumer) {
	l.result.Retries++
	if l.result.Retries > 10*len(l.consumers)+10 {
		fail("the server refuses consumers again and again")
	}
	c.stage = away
	must(syscall.Close(c.fd))
	l.returning = append(l.returning, Returning{number, now() + retryAfterNs})
}

func (l *Load) receive(number int, c *Consumer) {
	kept := copy(l.buffer, c.carry)
	count, errno := read(c.fd, l.buffer[kept:])
	moment := now()
	if errno == syscall.EAGAIN {
		return
	}
	if errno != 0 || count == 0 {
		if c.stage == opening {
			l.comeBack(number, c)
			return
		}
		if !l.counting {
			// Before the measurement, a lost stream only counts as a retry.
			l.openCount--
			l.underWay++
			l.comeBack(number, c)
			return
		}
		l.result.EndedByServer++
		c.stage = away
		must(syscall.Close(c.fd))
		return
	}
	l.result.Reads++
	l.result.Bytes += int64(count)
	data := l.buffer[:kept+count]
	if c.stage == opening {
		end := bytes.Index(data, headEnd)
		if end < 0 {
			c.carry = append(c.carry[:0], data...)
			return
		}
		if !bytes.HasPrefix(data, []byte("HTTP/1.1 200")) && !bytes.HasPrefix(data, []byte("HTTP/1.1 101")) {
			l.comeBack(number, c)
			return
		}
		data = data[end+len(headEnd):]
		c.stage = open
		c.carry = c.carry[:0]
		l.opened(number, c)
		if c.stage != open {
			return
		}
	}
	var rest []byte
	if l.plan.Subscribe.WebSocket {
		rest = l.frames(number, c, data, moment)
	} else {
		rest = l.stamps(number, c, data, moment)
	}
	c.carry = append(c.carry[:0], rest...)
}

// stamps counts the messages in a piece of a body and returns the incomplete rest.
func (l *Load) stamps(number int, c *Consumer, data []byte, moment int64) []byte {
	at, done, last := 0, 0, -1
	for {
		next := bytes.IndexByte(data[at:], mark)
		if next < 0 {
			at = len(data)
			break
		}
		at += next
		if len(data)-at < stampSize {
			break
		}
		last = at
		l.deliver(number, c, stampAt(data[at:]), moment)
		at += stampSize
		done = at
	}
	if !l.storm {
		return data[at:]
	}
	if last >= 0 {
		if id := bytes.LastIndex(data[:last], idField); id >= 0 {
			value := data[id+len(idField):]
			if end := bytes.IndexByte(value, '\n'); end >= 0 {
				c.lastID = append(c.lastID[:0], bytes.TrimRight(value[:end], "\r")...)
			}
		}
	}
	l.hear(data[:done])
	// Everything after the last stamp is kept, because an id stands before its message's stamp.
	return data[done:]
}

// hear counts the control records of a stream of Riptide.
func (l *Load) hear(data []byte) {
	l.result.Resumed += bytes.Count(data, wordResumed)
	l.result.Gaps += bytes.Count(data, wordGap) + bytes.Count(data, wordReset)
}

// frames counts the messages in whole WebSocket frames, answers pings, and returns the rest.
func (l *Load) frames(number int, c *Consumer, data []byte, moment int64) []byte {
	for len(data) >= 2 {
		header, length := 2, int(data[1]&0x7f)
		switch length {
		case 126:
			header = 4
			if len(data) >= header {
				length = int(binary.BigEndian.Uint16(data[2:]))
			}
		case 127:
			header = 10
			if len(data) >= header {
				length = int(binary.BigEndian.Uint64(data[2:]))
			}
		}
		if len(data) < header || len(data) < header+length {
			break
		}
		payload := data[header : header+length]
		switch data[0] & 0x0f {
		case opText:
			if at := bytes.IndexByte(payload, mark); at >= 0 && len(payload)-at >= stampSize {
				l.deliver(number, c, stampAt(payload[at:]), moment)
			}
		case opPing:
			// The mask is four zeros, so the payload stays as it is.
			pong := append([]byte{0x8a, 0x80 | byte(length), 0, 0, 0, 0}, payload...)
			write(c.fd, pong)
		case opClose:
			fail("the server closed a WebSocket: %q", payload)
		}
		data = data[header+length:]
	}
	return data
}

// deliver counts a message, and whether messages of its publisher are missing or repeated.
func (l *Load) deliver(number int, c *Consumer, stamp Stamp, moment int64) {
	if stamp.publisher == warmUp {
		if !c.warmed {
			c.warmed = true
			l.warmed++
		}
		return
	}
	if stamp.publisher >= len(l.publishers) {
		fail("a message of publisher %d, which there is not", stamp.publisher)
	}
	next := &l.next[number*len(l.publishers)+stamp.publisher]
	switch {
	case stamp.sequence < *next:
		l.result.Duplicated++
		return
	case stamp.sequence > *next:
		l.result.Lost += int64(stamp.sequence - *next)
	}
	*next = stamp.sequence + 1
	l.latency.Record(moment - stamp.sentNs)
	l.result.Deliveries++
	reached := &l.publishers[stamp.publisher].reached[stamp.sequence]
	if *reached++; *reached == l.reading {
		l.inFlight--
		l.completed = moment
	}
}
