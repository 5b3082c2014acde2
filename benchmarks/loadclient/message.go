package main

import (
	"bytes"
	"encoding/json"
	"strings"
)

// What a message carries in its payload, at fixed places behind a mark that nothing else on the
// wire holds: the publisher's number, the message's number at that publisher, and the moment it
// was sent, in nanoseconds.
const (
	mark            = '~'
	publisherDigits = 4
	sequenceDigits  = 10
	timeDigits      = 19
	stampSize       = 1 + publisherDigits + sequenceDigits + timeDigits
	// The publisher number of warm-up messages, which are not measured.
	warmUp = 9999
)

// Stamp is what a message carries.
type Stamp struct {
	publisher int
	sequence  int
	sentNs    int64
}

func (s Stamp) put(into []byte) {
	into[0] = mark
	putDigits(into[1:1+publisherDigits], int64(s.publisher))
	putDigits(into[1+publisherDigits:1+publisherDigits+sequenceDigits], int64(s.sequence))
	putDigits(into[1+publisherDigits+sequenceDigits:stampSize], s.sentNs)
}

func stampAt(from []byte) Stamp {
	from = from[:stampSize]
	return Stamp{
		int(digits(from[1 : 1+publisherDigits])),
		int(digits(from[1+publisherDigits : 1+publisherDigits+sequenceDigits])),
		digits(from[1+publisherDigits+sequenceDigits:]),
	}
}

func putDigits(into []byte, value int64) {
	for i := len(into) - 1; i >= 0; i-- {
		into[i] = byte('0' + value%10)
		value /= 10
	}
}

func digits(from []byte) int64 {
	value := int64(0)
	for _, digit := range from {
		value = value*10 + int64(digit-'0')
	}
	return value
}

// Body is a request to publish. It is made once; only its stamps change.
type Body struct {
	request []byte
	stamps  []int
}

// newBody makes a request of so many messages of so many bytes, in the format of the peer.
func newBody(publish Publish, host string, messages, size int) Body {
	before, after := `{"sensor":"a-17","reading":21.75,"note":"`, `"}`
	padding := size - len(before) - len(after) - stampSize
	if padding < 0 {
		padding = 0
	}
	payload := before + strings.Repeat(string(rune(mark)), stampSize) + strings.Repeat("x", padding) + after
	if publish.Escape {
		quoted, _ := json.Marshal(payload)
		payload = string(quoted[1 : len(quoted)-1])
	}
	items := make([]string, messages)
	for i := range items {
		items[i] = publish.ItemBefore + payload + publish.ItemAfter
	}
	body := publish.Before + strings.Join(items, publish.Between) + publish.After
	request := "POST " + publish.Path + " HTTP/1.1\r\nHost: " + host + "\r\nContent-Type: " +
		publish.ContentType + "\r\nContent-Length: " + decimal(len(body)) + "\r\n\r\n" + body
	made := Body{request: []byte(request)}
	place := bytes.Repeat([]byte{mark}, stampSize)
	for at := 0; ; at += stampSize {
		next := bytes.Index(made.request[at:], place)
		if next < 0 {
			return made
		}
		at += next
		made.stamps = append(made.stamps, at)
	}
}
