package main

import (
	"bytes"
	"testing"
)

// messageOf returns what a server makes of a message: anything around its stamp.
func messageOf(publisher, sequence int) []byte {
	stamp := make([]byte, stampSize)
	Stamp{publisher, sequence, 5}.put(stamp)
	return append(append([]byte("id: 7f-1\ndata: {\"note\":\""), stamp...), "\"}\n\n"...)
}

func loadOf(publishers int) *Load {
	l := &Load{consumers: make([]Consumer, 1), publishers: make([]Publisher, publishers)}
	l.next = make([]int, publishers)
	l.reading = 1
	for number := range l.publishers {
		l.publishers[number].reached = make([]int32, 10)
	}
	return l
}

// feed hands over a body in pieces, as a socket might.
func feed(l *Load, body []byte, size int) {
	c := &l.consumers[0]
	for len(body) > 0 {
		if size > len(body) {
			size = len(body)
		}
		data := append(append([]byte(nil), c.carry...), body[:size]...)
		body = body[size:]
		var rest []byte
		if l.plan.Subscribe.WebSocket {
			rest = l.frames(0, c, data, 9)
		} else {
			rest = l.stamps(0, c, data, 9)
		}
		c.carry = append(c.carry[:0], rest...)
	}
}

func TestMessagesAreCountedHoweverTheyAreCutIntoReads(t *testing.T) {
	body := bytes.Join([][]byte{messageOf(0, 0), messageOf(1, 0), messageOf(0, 1)}, nil)
	for size := 1; size <= len(body); size++ {
		l := loadOf(2)
		feed(l, body, size)
		if l.result.Deliveries != 3 || l.result.Lost != 0 || l.result.Duplicated != 0 {
			t.Fatalf("in reads of %d: %+v", size, l.result)
		}
		if l.latency.max != 4 {
			t.Fatalf("the latency is %d and not 4", l.latency.max)
		}
	}
}

func TestFramesAreCountedHoweverTheyAreCutIntoReads(t *testing.T) {
	var body []byte
	for sequence := 0; sequence < 3; sequence++ {
		message := append(messageOf(0, sequence), bytes.Repeat([]byte("x"), 100*sequence)...)
		if len(message) <= 125 {
			body = append(body, 0x81, byte(len(message)))
		} else {
			body = append(body, 0x81, 126, byte(len(message)>>8), byte(len(message)))
		}
		body = append(body, message...)
	}
	for size := 1; size <= len(body); size++ {
		l := loadOf(1)
		l.plan.Subscribe.WebSocket = true
		feed(l, body, size)
		if l.result.Deliveries != 3 || l.result.Lost != 0 {
			t.Fatalf("in reads of %d: %+v", size, l.result)
		}
	}
}

func TestWhatIsMissingOrComesTwiceIsCounted(t *testing.T) {
	l := loadOf(1)
	for _, sequence := range []int{0, 1, 1, 4} {
		feed(l, messageOf(0, sequence), 1000)
	}
	if l.result.Deliveries != 3 || l.result.Lost != 2 || l.result.Duplicated != 1 {
		t.Errorf("%+v", l.result)
	}
}

func TestAConsumerResumesBehindTheLastWholeMessage(t *testing.T) {
	whole, half := messageOf(0, 0), bytes.Replace(messageOf(0, 1), []byte("7f-1"), []byte("7f-2"), 1)
	for cut := 0; cut < len(half)-5; cut++ {
		l := loadOf(1)
		l.storm = true
		feed(l, whole, len(whole))
		feed(l, half[:cut], 3)
		if got := string(l.consumers[0].lastID); l.result.Deliveries == 1 && got != "7f-1" {
			t.Fatalf("after %d bytes of the second message: resumes behind %q", cut, got)
		}
		feed(l, half[cut:], 3)
		if got := string(l.consumers[0].lastID); got != "7f-2" || l.result.Deliveries != 2 {
			t.Fatalf("cut at %d: resumes behind %q", cut, got)
		}
	}
}

func TestARequestHoldsAsManyStampsAsItHasMessages(t *testing.T) {
	for _, publish := range []Publish{
		{Between: "\n"},
		{Before: `{"items":[`, ItemBefore: `{"content":"data: `, ItemAfter: `\n\n"}`, Between: ",", After: "]}", Escape: true},
	} {
		body := newBody(publish, "127.0.0.1", 3, 120)
		if len(body.stamps) != 3 {
			t.Errorf("%d stamps", len(body.stamps))
		}
	}
}
