package main

// Plan is what to do, read from standard input as one line of JSON.
type Plan struct {
	Host string `json:"host"`
	Port int    `json:"port"`
	// Instances of the server, to which consumers go in turn; without them, all go to Port.
	Ports     []int     `json:"ports"`
	Subscribe Subscribe `json:"subscribe"`
	Publish   Publish   `json:"publish"`
	// How many consumers, and how many of them never read once they are connected.
	Consumers int `json:"consumers"`
	Stalled   int `json:"stalled"`
	// How many consumers may be connecting at once; 0: all.
	Connecting int `json:"connecting"`
	// Connections to publish over; a message is in flight until all consumers have it.
	Publishers int `json:"publishers"`
	// With a rate (messages per second), messages are due at fixed moments; without one, as soon as
	// fewer than Window messages are in flight.
	Rate    float64 `json:"rate"`
	Window  int     `json:"window"`
	Batch   int     `json:"batch"`
	Bytes   int     `json:"bytes"`
	Seconds float64 `json:"seconds"`
	// How many messages are sent before the measurement; more, until each consumer has got one.
	WarmUps int `json:"warm_ups"`
	// Report that all are connected, and wait for a line on standard input before publishing.
	Pause bool `json:"pause"`
	// Cut all consumers off after StormAfter seconds, and reconnect them after AwayS more.
	StormAfter float64 `json:"storm_after"`
	AwayS      float64 `json:"away"`
	// The seconds after which the run is given up.
	TimeoutS float64 `json:"timeout"`
}

// Subscribe is the request of a consumer.
type Subscribe struct {
	Path      string `json:"path"`
	Headers   string `json:"headers"`
	WebSocket bool   `json:"websocket"`
}

// Publish is the request that brings a message to the peer.
type Publish struct {
	Port int    `json:"port"`
	Path string `json:"path"`
	// Publishers publish at these ports, and to these paths, in turn; without them, at Port to Path.
	Ports       []int    `json:"ports"`
	Paths       []string `json:"paths"`
	ContentType string   `json:"content_type"`
	Before      string   `json:"before"`
	ItemBefore  string   `json:"item_before"`
	ItemAfter   string   `json:"item_after"`
	Between     string   `json:"between"`
	After       string   `json:"after"`
	// The payload stands within a JSON string.
	Escape bool `json:"escape"`
}

// Result is the outcome of a run, written to standard output as one line of JSON.
type Result struct {
	Event          string  `json:"event"`
	Failure        string  `json:"failure,omitempty"`
	Consumers      int     `json:"consumers"`
	ConnectSeconds float64 `json:"connect_seconds"`
	Retries        int     `json:"retries"`
	Published      int     `json:"published"`
	PublishSeconds float64 `json:"publish_seconds"`
	Deliveries     int64   `json:"deliveries"`
	Bytes          int64   `json:"bytes"`
	Reads          int64   `json:"reads"`
	Seconds        float64 `json:"seconds"`
	ClientCPU      float64 `json:"client_cpu_seconds"`
	P50            int64   `json:"p50_ns"`
	P99            int64   `json:"p99_ns"`
	P999           int64   `json:"p999_ns"`
	Max            int64   `json:"max_ns"`
	AckP50         int64   `json:"ack_p50_ns"`
	AckP99         int64   `json:"ack_p99_ns"`
	LatestSendNs   int64   `json:"latest_send_ns"`
	StormSeconds   float64 `json:"storm_seconds"`
	Resumed        int     `json:"resumed"`
	Gaps           int     `json:"gaps"`
	Lost           int64   `json:"lost"`
	Duplicated     int64   `json:"duplicated"`
	Refused        int     `json:"refused"`
	EndedByServer  int     `json:"ended_by_server"`
	Unfinished     int     `json:"unfinished"`
	// How many messages were acknowledged to the publishers of each port, in the order of the plan.
	AcknowledgedAt []int `json:"acknowledged_at"`
}
