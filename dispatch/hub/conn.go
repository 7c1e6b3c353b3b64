package hub

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/muster-hq/muster/dispatch/bus"
)

// closeWait is how long a peer that was told to close has to say that it did.
const closeWait = 3 * time.Second

// trustedChannels is the channel limit of the orchestrator, as RabbitMQ offers it.
const trustedChannels = 2047

// conn is one connection. Its run goroutine reads and acts; a second one writes.
type conn struct {
	hub      *Hub
	raw      net.Conn // as accepted
	nc       net.Conn // raw, or TLS over it; changed under mu
	tls      *tls.Config
	trusted  bool
	out      *outbox
	log      *slog.Logger
	identity bus.Identity

	frameMax     uint32
	channelMax   uint16
	beat         atomic.Int64 // agreed heartbeat, a time.Duration
	cancelNotify bool
	reader       *bufio.Reader
	assembling   int // octets of messages that are not whole yet

	channels  map[uint16]*channel // written under Hub.mu, by run only
	exclusive map[*queue]bool     // under Hub.mu

	mu      sync.Mutex
	closing bool // connection.close is sent
	written chan struct{}
}

func newConn(h *Hub, nc net.Conn, config *tls.Config, trusted bool) *conn {
	c := &conn{hub: h, raw: nc, nc: nc, tls: config, trusted: trusted, out: newOutbox(), frameMax: frameMinMax,
		log:      h.cfg.Log.With("peer", nc.RemoteAddr().String()),
		channels: make(map[uint16]*channel), exclusive: make(map[*queue]bool), written: make(chan struct{})}
	c.channelMax = uint16(min(h.cfg.MaxChannels, 65535))
	if trusted {
		c.channelMax = trustedChannels
	}
	return c
}

// run serves the connection until its end.
func (c *conn) run(ctx context.Context) {
	err := c.start(ctx)
	if err == nil {
		err = c.loop()
	}
	c.hub.forget(c)
	c.out.close()
	<-c.written
	_ = c.nc.Close() // both sides have said what they had to say
	if err != nil && !errors.Is(err, io.EOF) {
		c.log.DebugContext(ctx, "hub: connection ended", "user", c.identity.User, "error", err)
	}
}

// start does everything up to connection.open-ok. Where it fails the peer has been told, if it spoke
// AMQP at all.
func (c *conn) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.hub.cfg.HandshakeTimeout)
	defer cancel()
	deadline, _ := ctx.Deadline()
	err := c.nc.SetDeadline(deadline)
	if err == nil {
		err = c.greet(ctx)
	}
	if err != nil {
		close(c.written) // nobody writes
		return err
	}
	go func() {
		defer close(c.written)
		beat := func() time.Duration { return time.Duration(c.beat.Load()) }
		if err := c.out.write(c.nc, beat, c.hub.cfg.WriteTimeout, c.resume); err != nil {
			_ = c.nc.Close() // wakes the reader
		}
	}()
	br := bufio.NewReaderSize(c.nc, 16<<10)
	c.reader = br
	if err := c.handshake(ctx, br); err != nil {
		var ae *amqpError
		if errors.As(err, &ae) {
			c.shut(ae)
			return c.linger(err)
		}
		return err
	}
	return nil
}

// greet runs the TLS handshake and reads the protocol header.
func (c *conn) greet(ctx context.Context) error {
	if c.tls != nil {
		t := tls.Server(c.nc, c.tls)
		if err := t.HandshakeContext(ctx); err != nil {
			return fmt.Errorf("tls: %w", err)
		}
		c.mu.Lock()
		c.nc = t
		c.mu.Unlock()
	}
	head := make([]byte, len(protocolHeader))
	if _, err := io.ReadFull(c.nc, head); err != nil {
		return err
	}
	if string(head) != protocolHeader {
		_, err := io.WriteString(c.nc, protocolHeader) // what we would have understood
		return errors.Join(fmt.Errorf("%w: it does not begin with the header of AMQP 0-9-1", errFrame), err)
	}
	return nil
}

// abort ends the connection without a word.
func (c *conn) abort() { _ = c.raw.Close() }

// shut tells the peer that the connection ends, and gives it a moment to agree. It may be called by
// anybody at any time.
func (c *conn) shut(e *amqpError) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return
	}
	c.closing = true
	c.sendOn(0, connectionClose.begin().short(e.code).shortstr(e.Error()).short(0).short(0))
	_ = c.nc.SetReadDeadline(time.Now().Add(min(closeWait, c.hub.cfg.HandshakeTimeout))) // a connection that is gone needs none
}

// sendOn queues a method.
func (c *conn) sendOn(channel uint16, e *encoder) {
	c.out.add(func(b []byte) []byte { return appendFrame(b, frameMethod, channel, e.b) })
}

// patience sets the read deadline for the next frame: none if d is 0. Once the connection is closing
// the deadline of that stays.
func (c *conn) patience(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return
	}
	var at time.Time
	if d > 0 {
		at = time.Now().Add(d)
	}
	_ = c.nc.SetReadDeadline(at) // reading tells if the connection is gone
}

// handshake is start, tune, open.
func (c *conn) handshake(ctx context.Context, br *bufio.Reader) error {
	c.sendOn(0, connectionStart.begin().octet(0).octet(9).table(
		"product", "muster", "platform", "Go",
		"capabilities", []any{"publisher_confirms", true, "basic.nack", true, "consumer_cancel_notify", true,
			"authentication_failure_close", true, "per_consumer_qos", true},
	).longstr("PLAIN").longstr("en_US"))
	d, err := c.expect(br, connectionStartOK)
	if err != nil {
		return err
	}
	if err := c.login(ctx, d); err != nil {
		return err
	}
	hb := uint16(min(c.hub.cfg.Heartbeat/time.Second, 600))
	c.sendOn(0, connectionTune.begin().short(c.channelMax).long(uint32(c.hub.cfg.FrameMax)).short(hb))
	if d, err = c.expect(br, connectionTuneOK); err != nil {
		return err
	}
	if err := c.tuned(d); err != nil {
		return err
	}
	if d, err = c.expect(br, connectionOpen); err != nil {
		return err
	}
	if vhost := d.shortstr(); vhost != "/" {
		return amqpErrorf(codeNotAllowed, "vhost %.100s not found: there is only /", vhost)
	}
	c.sendOn(0, connectionOpenOK.begin().shortstr(""))
	return nil
}

// expect reads one method of channel 0.
func (c *conn) expect(br *bufio.Reader, want methodID) (*decoder, error) {
	for {
		f, err := readFrame(br, c.frameMax)
		if err != nil {
			if errors.Is(err, errFrame) {
				return nil, amqpErrorf(codeFrameError, "%s", err)
			}
			return nil, err
		}
		if f.kind == frameHeartbeat {
			continue
		}
		d := &decoder{b: f.payload}
		got := methodID(d.long())
		if f.kind != frameMethod || f.channel != 0 || d.err != nil || got != want {
			return nil, amqpErrorf(codeCommandInvalid, "expected method %d.%d during the handshake", want.class(), want.method())
		}
		return d, nil
	}
}

// login reads connection.start-ok and decides.
func (c *conn) login(ctx context.Context, d *decoder) error {
	props := d.table()
	mechanism, response := d.shortstr(), d.longstr()
	d.shortstr() // locale
	if d.err != nil {
		return amqpErrorf(codeSyntaxError, "connection.start-ok: %s", d.err)
	}
	if caps, ok := props["capabilities"].(table); ok {
		c.cancelNotify = caps["consumer_cancel_notify"] == true
	}
	if mechanism != "PLAIN" {
		return amqpErrorf(codeAccessRefused, "Login was refused: the only mechanism is PLAIN")
	}
	if c.trusted {
		c.identity = bus.Identity{User: bus.UserOrchestrator, Role: bus.RoleOrchestrator}
		return c.registered()
	}
	parts := bytes.SplitN(response, []byte{0}, 3)
	if len(parts) != 3 || len(parts[0]) != 0 && !bytes.Equal(parts[0], parts[1]) {
		return amqpErrorf(codeAccessRefused, "Login was refused: the response is not of mechanism PLAIN")
	}
	user := string(parts[1])
	if !c.hub.logins.wait(ctx, 2*time.Second) {
		c.refused()
		return amqpErrorf(codeAccessRefused, "Login was refused: too many logins at once, try again")
	}
	identity, err := c.hub.cfg.Auth.Authenticate(ctx, user, string(parts[2]))
	if err != nil {
		c.refused()
		c.log.WarnContext(ctx, "hub: login refused", "user", fmt.Sprintf("%.80q", user), "error", err)
		return amqpErrorf(codeAccessRefused, "Login was refused using authentication mechanism PLAIN")
	}
	c.identity = identity
	return c.registered()
}

func (c *conn) registered() error {
	if e := c.hub.register(c); e != nil {
		return e
	}
	return nil
}

func (c *conn) refused() {
	c.hub.mu.Lock()
	c.hub.stats.LoginsRefused++
	c.hub.mu.Unlock()
}

// tuned takes over the client's wishes within ours.
func (c *conn) tuned(d *decoder) error {
	channels, frames, hb := d.short(), d.long(), d.short()
	if d.err != nil {
		return amqpErrorf(codeSyntaxError, "connection.tune-ok: %s", d.err)
	}
	if channels > c.channelMax || frames > uint32(c.hub.cfg.FrameMax) || frames != 0 && frames < frameMinMax {
		return amqpErrorf(codeNotAllowed, "negotiation failed: channel_max %d (at most %d), frame_max %d (%d to %d)",
			channels, c.channelMax, frames, frameMinMax, c.hub.cfg.FrameMax)
	}
	if channels > 0 {
		c.channelMax = channels
	}
	c.frameMax = uint32(c.hub.cfg.FrameMax)
	if frames > 0 {
		c.frameMax = frames
	}
	c.beat.Store(int64(time.Duration(hb) * time.Second))
	return nil
}

// loop reads frames until the connection ends.
func (c *conn) loop() error {
	for {
		c.waitForRoom()
		c.patience(2 * time.Duration(c.beat.Load()))
		f, err := readFrame(c.reader, c.frameMax)
		if err != nil {
			if errors.Is(err, errFrame) {
				c.shut(amqpErrorf(codeFrameError, "%s", err))
				return c.linger(err)
			}
			return err
		}
		over, err := c.handle(f)
		if err == nil && over {
			return nil
		}
		var ae *amqpError
		if errors.As(err, &ae) {
			c.shut(ae)
			return c.linger(err)
		}
	}
}

// linger reads and forgets what the peer still says until it closes, so that it gets to read why.
func (c *conn) linger(err error) error {
	if _, copyErr := io.Copy(io.Discard, io.LimitReader(c.reader, 64<<20)); copyErr != nil {
		return errors.Join(err, copyErr)
	}
	return err
}

// waitForRoom holds the reader up while the peer does not read its answers.
func (c *conn) waitForRoom() {
	for c.out.full() {
		select {
		case <-c.out.drained:
		case <-c.written:
			return
		}
	}
}

// resume hands on what had to wait because the peer did not read.
func (c *conn) resume() {
	c.hub.mu.Lock()
	defer c.hub.mu.Unlock()
	for _, ch := range c.channels {
		ch.pull()
	}
}

// handle acts on one frame. over: the connection has been closed in agreement.
func (c *conn) handle(f frame) (over bool, err error) {
	c.mu.Lock()
	closing := c.closing
	c.mu.Unlock()
	if f.kind == frameHeartbeat {
		if f.channel != 0 {
			return false, amqpErrorf(codeFrameError, "heartbeat on channel %d", f.channel)
		}
		return false, nil
	}
	d := &decoder{b: f.payload}
	if f.channel == 0 {
		return c.handleConnection(f, d, closing)
	}
	if closing {
		return false, nil
	}
	ch := c.channels[f.channel]
	if f.kind == frameMethod {
		id := methodID(d.long())
		if d.err != nil {
			return false, amqpErrorf(codeSyntaxError, "a method frame without a method")
		}
		if ch == nil {
			return false, c.openChannel(f.channel, id)
		}
		return false, ch.fail(id, ch.method(id, d))
	}
	if ch == nil {
		return false, amqpErrorf(codeChannelError, "channel %d is not open", f.channel)
	}
	return false, ch.fail(basicPublish, ch.content(f))
}

func (c *conn) handleConnection(f frame, d *decoder, closing bool) (over bool, err error) {
	if f.kind != frameMethod {
		return false, amqpErrorf(codeUnexpectedFrame, "content on channel 0")
	}
	switch id := methodID(d.long()); id {
	case connectionClose:
		c.sendOn(0, connectionCloseOK.begin())
		return true, nil
	case connectionCloseOK:
		return closing, nil
	default:
		if closing {
			return false, nil
		}
		return false, amqpErrorf(codeCommandInvalid, "method %d.%d on channel 0", id.class(), id.method())
	}
}

// openChannel handles the first method of a channel that is not open.
func (c *conn) openChannel(number uint16, id methodID) error {
	if id == channelCloseOK {
		return nil // late answer to an old close
	}
	if id != channelOpen {
		return amqpErrorf(codeChannelError, "channel %d is not open", number)
	}
	if number > c.channelMax {
		return amqpErrorf(codeNotAllowed, "channel %d is above the limit of %d", number, c.channelMax)
	}
	ch := newChannel(c, number)
	c.hub.mu.Lock()
	c.channels[number] = ch
	c.hub.mu.Unlock()
	ch.send(channelOpenOK.begin().longstr(""))
	return nil
}

// removeChannel ends a channel for good.
func (c *conn) removeChannel(ch *channel) {
	c.hub.mu.Lock()
	defer c.hub.mu.Unlock()
	c.hub.dropChannel(ch)
	delete(c.channels, ch.id)
}

// generated makes a name that nobody has.
func (h *Hub) generated(prefix string) string {
	h.names++
	return fmt.Sprintf("%s%d", prefix, h.names)
}

func reserved(name string) bool { return strings.HasPrefix(name, "amq.") }
