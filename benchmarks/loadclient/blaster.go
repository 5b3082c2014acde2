package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// Blaster is the least that a server can do: it acknowledges a message, frames it once, and
// writes everything new to each consumer, a few consumers at a time. It resumes nobody, limits
// nothing and records nothing, and so shows what the kernel and the client allow.
type Blaster struct {
	poller    *Poller
	listener  int
	input     map[int32][]byte
	consumers []*blasted
	stream    []byte
	turns     []*blasted
	buffer    []byte
}

type blasted struct {
	fd     int
	cursor int
}

// The number of consumers that are written to between two looks for events.
const blastSlice = 64

func blast() {
	b := &Blaster{poller: newPoller(), input: map[int32][]byte{}, buffer: make([]byte, bufferSize)}
	b.listener = newSocket()
	must(syscall.Bind(b.listener, addressOf("127.0.0.1", 0)))
	must(syscall.Listen(b.listener, 2048))
	name, err := syscall.Getsockname(b.listener)
	must(err)
	fmt.Fprintf(os.Stderr, "serving on http://127.0.0.1:%d\n", name.(*syscall.SockaddrInet4).Port)
	b.poller.watch(b.listener, int32(b.listener), false)
	for {
		timeout := -1
		if len(b.turns) > 0 {
			timeout = 0
		}
		for _, event := range b.poller.wait(timeout) {
			if int(event.Fd) == b.listener {
				b.accept()
			} else {
				b.receive(event.Fd)
			}
		}
		b.serveSlice()
	}
}

func (b *Blaster) accept() {
	for {
		fd, _, err := syscall.Accept4(b.listener, syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
		if err != nil {
			return
		}
		must(syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1))
		b.poller.watch(fd, int32(fd), false)
	}
}

func (b *Blaster) receive(fd int32) {
	count, errno := read(int(fd), b.buffer)
	if errno == syscall.EAGAIN {
		return
	}
	if errno != 0 || count == 0 {
		b.leave(fd)
		return
	}
	request := append(b.input[fd], b.buffer[:count]...)
	end := bytes.Index(request, headEnd)
	if end < 0 {
		b.input[fd] = request
		return
	}
	if bytes.HasPrefix(request, []byte("GET ")) {
		write(int(fd), []byte("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"))
		b.consumers = append(b.consumers, &blasted{int(fd), len(b.stream)})
		delete(b.input, fd)
		return
	}
	_, after, _ := strings.Cut(string(request[:end])+"\r\n", "Content-Length: ")
	digits, _, _ := strings.Cut(after, "\r\n")
	length, err := strconv.Atoi(digits)
	must(err)
	body := request[end+len(headEnd):]
	if len(body) < length {
		b.input[fd] = request
		return
	}
	delete(b.input, fd)
	write(int(fd), []byte("HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"))
	for _, message := range bytes.Split(body, []byte("\n")) {
		b.stream = append(append(append(b.stream, "data: "...), message...), "\n\n"...)
	}
	if len(b.turns) == 0 {
		b.turns = append(b.turns, b.consumers...)
	}
}

func (b *Blaster) leave(fd int32) {
	for at, consumer := range b.consumers {
		if consumer.fd == int(fd) {
			b.consumers = append(b.consumers[:at], b.consumers[at+1:]...)
			break
		}
	}
	delete(b.input, fd)
	must(syscall.Close(int(fd)))
}

func (b *Blaster) serveSlice() {
	count := len(b.turns)
	if count > blastSlice {
		count = blastSlice
	}
	for _, consumer := range b.turns[:count] {
		if new := b.stream[consumer.cursor:]; len(new) > 0 {
			if written, errno := write(consumer.fd, new); errno == 0 {
				consumer.cursor += written
			}
		}
	}
	b.turns = b.turns[count:]
	if len(b.turns) == 0 {
		for _, consumer := range b.consumers {
			if consumer.cursor < len(b.stream) {
				b.turns = append(b.turns[:0:0], b.consumers...)
				return
			}
		}
	}
}
