package main

import (
	"bufio"
	"encoding/json"
	"net"
	"os"
	"syscall"
)

// The poller's numbers for what is no consumer.
const (
	answersNumber int32 = -1 - iota
	timerNumber
	inputNumber
)

const (
	bufferSize = 1 << 20
	// Between warm-up messages.
	warmUpNs = 50_000_000
)

// Returning is a consumer that will connect again at a moment.
type Returning struct {
	number int
	at     int64
}

// Load is one run of a plan. Everything happens on one thread, so there is one clock and no lock.
type Load struct {
	plan             Plan
	result           Result
	addresses        []syscall.Sockaddr
	publishAddresses []syscall.Sockaddr
	opening          []byte
	poller           *Poller
	answers          *Poller
	timer            Timer
	consumers        []Consumer
	publishers       []Publisher
	// For each consumer and publisher, the sequence number that is expected next.
	next         []int
	latency      Histogram
	acknowledged Histogram
	buffer       []byte
	returning    []Returning
	storm        bool
	toConnect    []int
	underWay     int
	openCount    int
	reading      int32
	warmed       int
	inFlight     int
	completed    int64
	lastAnswer   int64
	told         bool
	counting     bool
	deadline     int64
}

func newLoad(plan Plan) *Load {
	l := &Load{plan: plan, poller: newPoller(), answers: newPoller(), timer: newTimer()}
	l.result.Event = "result"
	l.result.Consumers = plan.Consumers
	l.storm = plan.StormAfter > 0
	l.buffer = make([]byte, bufferSize)
	l.consumers = make([]Consumer, plan.Consumers)
	l.publishers = make([]Publisher, plan.Publishers)
	l.next = make([]int, plan.Consumers*plan.Publishers)
	l.reading = int32(plan.Consumers - plan.Stalled)
	l.addresses = addressesOf(plan.Host, plan.Ports, plan.Port)
	port := plan.Publish.Port
	if port == 0 {
		port = plan.Port
	}
	l.publishAddresses = addressesOf(plan.Host, plan.Publish.Ports, port)
	l.result.AcknowledgedAt = make([]int, len(l.publishAddresses))
	l.opening = []byte("GET " + plan.Subscribe.Path + " HTTP/1.1\r\nHost: " + plan.Host + "\r\n" +
		plan.Subscribe.Headers + "\r\n")
	l.poller.watch(l.answers.fd, answersNumber, false)
	l.poller.watch(l.timer.fd, timerNumber, false)
	l.poller.watch(0, inputNumber, false)
	l.deadline = now() + nanoseconds(plan.TimeoutS)
	return l
}

// run carries the plan out.
func (l *Load) run() {
	started := now()
	l.connectAll()
	l.await("all consumers to be connected", func() bool { return l.openCount == len(l.consumers) })
	l.result.ConnectSeconds = seconds(now() - started)
	if l.plan.Pause {
		l.report(struct {
			Event   string  `json:"event"`
			Seconds float64 `json:"seconds"`
		}{"connected", l.result.ConnectSeconds})
		l.await("the word to go on", func() bool { return l.told })
	}
	for number := range l.publishers {
		l.newPublisher(number)
	}
	l.warmUp()
	l.counting = true
	before := cpuSeconds()
	l.result.Reads, l.result.Bytes = 0, 0
	l.report(struct {
		Event string `json:"event"`
	}{"started"})
	began := now()
	if l.storm {
		l.weather(began)
	} else {
		l.load(began, began+nanoseconds(l.plan.Seconds))
	}
	l.report(struct {
		Event string `json:"event"`
	}{"finished"})
	l.result.ClientCPU = cpuSeconds() - before
	if l.completed == 0 {
		l.completed = l.lastAnswer
	}
	l.result.Seconds = seconds(l.completed - began)
	l.result.PublishSeconds = seconds(l.lastAnswer - began)
}

// connectAll starts to connect all consumers.
func (l *Load) connectAll() {
	for number := range l.consumers {
		l.toConnect = append(l.toConnect, number)
	}
	l.connectMore()
}

func (l *Load) connectMore() {
	limit := l.plan.Connecting
	for len(l.toConnect) > 0 && (limit == 0 || l.underWay < limit) {
		l.underWay++
		l.connect(l.toConnect[0])
		l.toConnect = l.toConnect[1:]
	}
}

// opened counts a stream whose head has come.
func (l *Load) opened(number int, c *Consumer) {
	l.openCount++
	l.underWay--
	if number < l.plan.Stalled {
		c.stage = stalled
		l.poller.forget(c.fd)
	}
	l.connectMore()
}

// warmUp publishes until each reading consumer has got a message, and at least WarmUps times.
func (l *Load) warmUp() {
	for sent := 0; l.warmed < int(l.reading) || sent < l.plan.WarmUps; sent++ {
		if number := l.idlePublisher(); number >= 0 {
			l.publish(number, now(), true)
		}
		due := now() + warmUpNs
		l.timer.setIn(warmUpNs)
		l.await("the first message to reach everybody", func() bool { return now() >= due })
	}
	l.await("publishers to be idle", l.allIdle)
	l.acknowledged = Histogram{}
}

func (l *Load) allIdle() bool {
	for number := range l.publishers {
		if l.publishers[number].busy {
			return false
		}
	}
	return true
}

// load publishes until the end, and waits until all messages have arrived.
func (l *Load) load(began, end int64) {
	l.publishUntil(began, func(moment int64) bool { return moment >= end })
	l.settle()
}

func (l *Load) settle() {
	l.await("all messages to arrive", func() bool { return l.inFlight == 0 && l.allIdle() })
}

func (l *Load) publishUntil(began int64, over func(int64) bool) {
	if l.plan.Rate > 0 {
		l.pace(began, over)
		return
	}
	l.timer.setIn(nanoseconds(l.plan.Seconds))
	l.await("the time to pass", func() bool {
		moment := now()
		if over(moment) {
			return true
		}
		for l.inFlight == 0 || l.inFlight+l.plan.Batch <= l.plan.Window {
			number := l.idlePublisher()
			if number < 0 {
				break
			}
			l.publish(number, now(), false)
		}
		return false
	})
}

// pace publishes at moments that do not depend on the server. A message's latency counts from when
// it was sent, or from when it was due if no connection was free.
func (l *Load) pace(began int64, over func(int64) bool) {
	interval := nanoseconds(1 / l.plan.Rate)
	due, blocked := began+interval, false
	l.timer.setIn(due - now())
	l.await("the time to pass", func() bool {
		for {
			moment := now()
			if over(moment) {
				return true
			}
			if moment < due {
				l.timer.setIn(due - moment)
				return false
			}
			number := l.idlePublisher()
			if number < 0 {
				blocked = true
				return false
			}
			if late := moment - due; late > l.result.LatestSendNs {
				l.result.LatestSendNs = late
			}
			if blocked {
				moment, blocked = due, false
			}
			l.publish(number, moment, false)
			due += interval
		}
	})
}

// weather cuts all consumers off, continues to publish, and reconnects them all at once.
func (l *Load) weather(began int64) {
	cutAt := began + nanoseconds(l.plan.StormAfter)
	l.publishUntil(began, func(moment int64) bool { return moment >= cutAt })
	for number := range l.consumers {
		if c := &l.consumers[number]; c.stage == open {
			c.stage = away
			cut(c.fd)
		}
	}
	l.openCount = 0
	backAt := now() + nanoseconds(l.plan.AwayS)
	l.publishUntil(now(), func(moment int64) bool { return moment >= backAt })
	back := now()
	targets := make([]int, len(l.publishers))
	for number := range l.publishers {
		targets[number] = l.publishers[number].sequence
	}
	l.connectAll()
	l.publishUntil(back, func(moment int64) bool {
		return l.openCount == len(l.consumers) && l.allHave(targets)
	})
	l.result.StormSeconds = seconds(now() - back)
	l.settle()
}

// allHave returns whether each consumer has so many messages of each publisher.
func (l *Load) allHave(targets []int) bool {
	for at, next := range l.next {
		if next < targets[at%len(targets)] {
			return false
		}
	}
	return true
}

// await serves connections until a condition holds.
func (l *Load) await(what string, done func() bool) {
	for !done() {
		moment := now()
		if moment > l.deadline {
			l.result.Unfinished = l.inFlight
			fail("gave up waiting for %s (%d of %d connected, %d in flight)",
				what, l.openCount, len(l.consumers), l.inFlight)
		}
		l.bringBack(moment)
		for _, event := range l.poller.wait(100) {
			switch event.Fd {
			case answersNumber:
			case timerNumber:
				l.timer.clear()
			case inputNumber:
				l.told = true
				l.poller.forget(0)
			default:
				l.ready(int(event.Fd), event.Events)
			}
		}
		// Answers are read in between, so that publishers do not wait for a thousand consumers.
		for _, event := range l.answers.wait(0) {
			l.answered(int(event.Fd))
		}
	}
}

func (l *Load) bringBack(moment int64) {
	for len(l.returning) > 0 && l.returning[0].at <= moment {
		l.connect(l.returning[0].number)
		l.returning = l.returning[1:]
	}
}

func (l *Load) report(word any) {
	line, err := json.Marshal(word)
	must(err)
	os.Stdout.Write(append(line, '\n'))
}

// finish completes and reports the result, also that of a failed run, and cuts all connections.
func (l *Load) finish() {
	l.result.P50 = l.latency.Percentile(50)
	l.result.P99 = l.latency.Percentile(99)
	l.result.P999 = l.latency.Percentile(99.9)
	l.result.Max = l.latency.max
	l.result.AckP50 = l.acknowledged.Percentile(50)
	l.result.AckP99 = l.acknowledged.Percentile(99)
	l.report(l.result)
	for number := range l.consumers {
		if c := &l.consumers[number]; c.stage != away {
			cut(c.fd)
		}
	}
}

// addressesOf returns the addresses of several ports, or of the only one if there are none.
func addressesOf(host string, several []int, only int) []syscall.Sockaddr {
	if len(several) == 0 {
		several = []int{only}
	}
	addresses := make([]syscall.Sockaddr, len(several))
	for number, port := range several {
		addresses[number] = addressOf(host, port)
	}
	return addresses
}

func addressOf(host string, port int) syscall.Sockaddr {
	ip := net.ParseIP(host).To4()
	if ip == nil || !ip.IsLoopback() {
		fail("%s is not a loopback address", host)
	}
	address := &syscall.SockaddrInet4{Port: port}
	copy(address.Addr[:], ip)
	return address
}

func cpuSeconds() float64 {
	var usage syscall.Rusage
	must(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return seconds(usage.Utime.Nano() + usage.Stime.Nano())
}

func readPlan() Plan {
	var plan Plan
	line, err := bufio.NewReaderSize(os.Stdin, 1).ReadBytes('\n')
	must(err)
	must(json.Unmarshal(line, &plan))
	return plan
}
