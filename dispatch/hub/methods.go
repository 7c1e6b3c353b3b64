package hub

import (
	"fmt"
	"strconv"
	"time"
)

// Classes of methods.
const (
	classConnection = 10
	classChannel    = 20
	classExchange   = 40
	classQueue      = 50
	classBasic      = 60
	classConfirm    = 85
	classTx         = 90
)

// methodID is class and method in one, so that a switch can name both.
type methodID uint32

func (m methodID) class() uint16  { return uint16(m >> 16) }
func (m methodID) method() uint16 { return uint16(m) }

// The methods that the hub reads or writes.
const (
	connectionStart   methodID = classConnection<<16 | 10
	connectionStartOK methodID = classConnection<<16 | 11
	connectionTune    methodID = classConnection<<16 | 30
	connectionTuneOK  methodID = classConnection<<16 | 31
	connectionOpen    methodID = classConnection<<16 | 40
	connectionOpenOK  methodID = classConnection<<16 | 41
	connectionClose   methodID = classConnection<<16 | 50
	connectionCloseOK methodID = classConnection<<16 | 51
	channelOpen       methodID = classChannel<<16 | 10
	channelOpenOK     methodID = classChannel<<16 | 11
	channelFlow       methodID = classChannel<<16 | 20
	channelFlowOK     methodID = classChannel<<16 | 21
	channelClose      methodID = classChannel<<16 | 40
	channelCloseOK    methodID = classChannel<<16 | 41
	exchangeDeclare   methodID = classExchange<<16 | 10
	exchangeDeclareOK methodID = classExchange<<16 | 11
	exchangeDelete    methodID = classExchange<<16 | 20
	exchangeDeleteOK  methodID = classExchange<<16 | 21
	queueDeclare      methodID = classQueue<<16 | 10
	queueDeclareOK    methodID = classQueue<<16 | 11
	queueBind         methodID = classQueue<<16 | 20
	queueBindOK       methodID = classQueue<<16 | 21
	queuePurge        methodID = classQueue<<16 | 30
	queuePurgeOK      methodID = classQueue<<16 | 31
	queueDelete       methodID = classQueue<<16 | 40
	queueDeleteOK     methodID = classQueue<<16 | 41
	queueUnbind       methodID = classQueue<<16 | 50
	queueUnbindOK     methodID = classQueue<<16 | 51
	basicQos          methodID = classBasic<<16 | 10
	basicQosOK        methodID = classBasic<<16 | 11
	basicConsume      methodID = classBasic<<16 | 20
	basicConsumeOK    methodID = classBasic<<16 | 21
	basicCancel       methodID = classBasic<<16 | 30
	basicCancelOK     methodID = classBasic<<16 | 31
	basicPublish      methodID = classBasic<<16 | 40
	basicReturn       methodID = classBasic<<16 | 50
	basicDeliver      methodID = classBasic<<16 | 60
	basicGet          methodID = classBasic<<16 | 70
	basicGetOK        methodID = classBasic<<16 | 71
	basicGetEmpty     methodID = classBasic<<16 | 72
	basicAck          methodID = classBasic<<16 | 80
	basicReject       methodID = classBasic<<16 | 90
	basicRecoverAsync methodID = classBasic<<16 | 100
	basicRecover      methodID = classBasic<<16 | 110
	basicRecoverOK    methodID = classBasic<<16 | 111
	basicNack         methodID = classBasic<<16 | 120
	confirmSelect     methodID = classConfirm<<16 | 10
	confirmSelectOK   methodID = classConfirm<<16 | 11
)

func (m methodID) begin() *encoder { return method(m.class(), m.method()) }

// Reply codes (AMQP 0-9-1, section 1.1). The soft ones end the channel, the others the connection.
const (
	codeNoRoute            = 312
	codeForced             = 320
	codeInvalidPath        = 402
	codeAccessRefused      = 403
	codeNotFound           = 404
	codeResourceLocked     = 405
	codePreconditionFailed = 406
	codeFrameError         = 501
	codeSyntaxError        = 502
	codeCommandInvalid     = 503
	codeChannelError       = 504
	codeUnexpectedFrame    = 505
	codeResourceError      = 506
	codeNotAllowed         = 530
	codeNotImplemented     = 540
)

// codeName is the name of a reply code, as it begins the reply text.
func codeName(code uint16) string {
	switch code {
	case codeForced:
		return "CONNECTION_FORCED"
	case codeInvalidPath:
		return "INVALID_PATH"
	case codeAccessRefused:
		return "ACCESS_REFUSED"
	case codeNotFound:
		return "NOT_FOUND"
	case codeResourceLocked:
		return "RESOURCE_LOCKED"
	case codePreconditionFailed:
		return "PRECONDITION_FAILED"
	case codeFrameError:
		return "FRAME_ERROR"
	case codeSyntaxError:
		return "SYNTAX_ERROR"
	case codeCommandInvalid:
		return "COMMAND_INVALID"
	case codeChannelError:
		return "CHANNEL_ERROR"
	case codeUnexpectedFrame:
		return "UNEXPECTED_FRAME"
	case codeResourceError:
		return "RESOURCE_ERROR"
	case codeNotAllowed:
		return "NOT_ALLOWED"
	case codeNotImplemented:
		return "NOT_IMPLEMENTED"
	default:
		return "ERROR"
	}
}

// amqpError is an error that the peer is told, by channel.close or connection.close.
type amqpError struct {
	code uint16
	text string
}

func (e *amqpError) Error() string { return codeName(e.code) + " - " + e.text }

// soft reports whether the error ends only the channel.
func (e *amqpError) soft() bool {
	return e.code < 500 && e.code != codeForced && e.code != codeInvalidPath
}

func amqpErrorf(code uint16, format string, args ...any) *amqpError {
	return &amqpError{code: code, text: fmt.Sprintf(format, args...)}
}

// arguments of methods that carry more than two or three values.
type (
	exchangeDeclareArgs struct {
		name, kind                                     string
		passive, durable, autoDelete, internal, noWait bool
		args                                           table
	}
	queueDeclareArgs struct {
		name                                            string
		passive, durable, exclusive, autoDelete, noWait bool
		args                                            table
	}
	bindArgs struct {
		queue, exchange, key string
		noWait               bool
		args                 table
	}
	consumeArgs struct {
		queue, tag                        string
		noLocal, noAck, exclusive, noWait bool
		args                              table
	}
	publishArgs struct {
		exchange, key        string
		mandatory, immediate bool
	}
)

func (d *decoder) exchangeDeclare() (a exchangeDeclareArgs) {
	d.short()
	a.name, a.kind = d.shortstr(), d.shortstr()
	bits := d.octet()
	a.passive, a.durable, a.autoDelete, a.internal, a.noWait = bits&1 != 0, bits&2 != 0, bits&4 != 0, bits&8 != 0, bits&16 != 0
	a.args = d.table()
	return a
}

func (d *decoder) queueDeclare() (a queueDeclareArgs) {
	d.short()
	a.name = d.shortstr()
	bits := d.octet()
	a.passive, a.durable, a.exclusive, a.autoDelete, a.noWait = bits&1 != 0, bits&2 != 0, bits&4 != 0, bits&8 != 0, bits&16 != 0
	a.args = d.table()
	return a
}

func (d *decoder) bind() (a bindArgs) {
	d.short()
	a.queue, a.exchange, a.key = d.shortstr(), d.shortstr(), d.shortstr()
	a.noWait = d.octet()&1 != 0
	a.args = d.table()
	return a
}

// unbind has no noWait.
func (d *decoder) unbind() (a bindArgs) {
	d.short()
	a.queue, a.exchange, a.key = d.shortstr(), d.shortstr(), d.shortstr()
	a.args = d.table()
	return a
}

func (d *decoder) consume() (a consumeArgs) {
	d.short()
	a.queue, a.tag = d.shortstr(), d.shortstr()
	bits := d.octet()
	a.noLocal, a.noAck, a.exclusive, a.noWait = bits&1 != 0, bits&2 != 0, bits&4 != 0, bits&8 != 0
	a.args = d.table()
	return a
}

func (d *decoder) publish() (a publishArgs) {
	d.short()
	a.exchange, a.key = d.shortstr(), d.shortstr()
	bits := d.octet()
	a.mandatory, a.immediate = bits&1 != 0, bits&2 != 0
	return a
}

// queueDelete reads queue, if-unused, if-empty, no-wait.
func (d *decoder) queueDelete() (name string, ifUnused, ifEmpty, noWait bool) {
	d.short()
	name = d.shortstr()
	bits := d.octet()
	return name, bits&1 != 0, bits&2 != 0, bits&4 != 0
}

// properties are the parts of a content header that the hub looks at; raw is passed on as it came.
type properties struct {
	raw        []byte // flags and values
	userID     string
	expiration time.Duration // 0: none
	expires    bool
}

// contentHeader reads the payload of a header frame.
func contentHeader(payload []byte) (size uint64, p properties, err error) {
	d := decoder{b: payload}
	class := d.short()
	d.short() // weight
	size = d.longlong()
	p.raw = d.b
	flags := d.short()
	if d.err == nil && class != classBasic {
		return 0, p, fmt.Errorf("content of class %d", class)
	}
	if flags&1 != 0 {
		return 0, p, fmt.Errorf("more than one word of property flags")
	}
	if d.properties(flags, &p); d.err != nil {
		return 0, p, d.err
	}
	if len(d.b) > 0 {
		return 0, p, fmt.Errorf("%d octets too many", len(d.b))
	}
	return size, p, nil
}

// properties reads the values of basic's content header in the order of their flags.
func (d *decoder) properties(flags uint16, p *properties) {
	for bit := 15; bit >= 2; bit-- {
		if flags&(1<<bit) == 0 {
			continue
		}
		switch bit {
		case 13:
			d.table()
		case 12, 11: // delivery mode, priority
			d.octet()
		case 8:
			text := d.shortstr()
			ms, err := strconv.ParseUint(text, 10, 32)
			if err != nil && d.err == nil {
				d.fail(amqpErrorf(codePreconditionFailed, "invalid expiration %q", text))
			}
			p.expiration, p.expires = time.Duration(ms)*time.Millisecond, true
		case 6: // timestamp
			d.longlong()
		case 4:
			p.userID = d.shortstr()
		default:
			d.shortstr()
		}
	}
}

// appendContent appends header and body frames.
func appendContent(b []byte, channel uint16, m *message, frameMax uint32) []byte {
	head := (&encoder{}).short(classBasic).short(0).longlong(uint64(len(m.body)))
	head.b = append(head.b, m.props...)
	b = appendFrame(b, frameHeader, channel, head.b)
	for rest := m.body; len(rest) > 0; {
		n := min(len(rest), int(frameMax)-frameOverhead)
		b = appendFrame(b, frameBody, channel, rest[:n])
		rest = rest[n:]
	}
	return b
}
