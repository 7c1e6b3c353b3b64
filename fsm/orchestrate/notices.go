package orchestrate

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// The rules of notices.
const (
	noticeHold  = 3 * time.Second // a notice waits so long for others to go with it
	noticesLine = 50              // notices that go together
	noticeText  = 500             // bytes of one
)

// notify tells the channels of a host's organization that want to hear of an action type. Like lines of logs it reads
// nothing that the transaction could conflict on.
func notify(tx *state.Tx, action, hostID, text string) error {
	r := tx.Quiet()
	h, ok := state.Get[model.HostRow](r, hostID)
	if !ok {
		return nil
	}
	env := h.EnvID
	if e, ok := state.Get[model.EnvironmentRow](r, h.EnvID); ok {
		env = e.Name
	}
	return notifyOrg(tx, action, h.OrgID, env+"/"+h.Name, text)
}

// notifyOrg tells the channels of an organization. object is what it is about.
func notifyOrg(tx *state.Tx, action, orgID, object, text string) error {
	r := tx.Quiet()
	if state.SchemaOf(r) < state.SchemaLogs {
		return nil
	}
	for _, n := range state.List[model.NotificationRow](r, model.DefinitionsOf(orgID)) {
		if !n.Document.Wants(action) {
			continue
		}
		if _, err := n.Document.To(); err != nil {
			continue // said where the channel is looked at, and by its test
		}
		if h, ok := state.Get[model.WebhookHealth](r, n.ID); ok && h.Disabled {
			continue
		}
		if err := putNotice(tx, n, action, object, text, noticeHold); err != nil {
			return err
		}
	}
	return nil
}

func putNotice(tx *state.Tx, n *model.NotificationRow, action, object, text string, hold time.Duration) error {
	waiting := len(state.Keys[model.Delivery](tx.Quiet(), model.DeliveriesOf(n.ID)))
	if waiting > deliveriesWaiting {
		return nil
	}
	d := model.Delivery{ID: "msg_" + newID(), OrgID: n.OrgID, HookID: n.ID, Channel: true, Kind: action, Object: object, Text: cutText(plainText(text), noticeText),
		Time: tx.Now(), Next: tx.Now().Add(hold)}
	if waiting == deliveriesWaiting {
		d.Text = fmt.Sprintf("%d notices wait to be sent, and further ones are dropped: see {O}/notification/", waiting)
		if err := Tell(tx, model.NotificationLogOf(n.OrgID), "", "", fmt.Sprintf("channel %s: %d notices wait to be sent, and further ones are dropped", n.Name, waiting)); err != nil {
			return err
		}
	}
	return state.Put(tx, &d)
}

// channelMade lets a channel that was made or changed begin anew.
func channelMade(tx *state.Tx, n *model.NotificationRow) error {
	state.Delete[model.WebhookHealth](tx, n.ID)
	return nil
}

// TestChannel puts a notice that tries a channel, whatever it is told of; one that was disabled begins anew. Errors: NotFound,
// Conflict (its value does not say where to).
func TestChannel(tx *state.Tx, orgID, name string) error {
	n, err := NotificationChannels().find(tx, orgID, orgID, name)
	if err != nil {
		return err
	}
	if _, err := n.Document.To(); err != nil {
		return err
	}
	if state.SchemaOf(tx) < state.SchemaLogs {
		return model.Errorf(model.Unavailable, "some member of the cluster runs a version that sends no notices: upgrade it first")
	}
	state.Delete[model.WebhookHealth](tx, n.ID)
	return putNotice(tx, n, model.NoticeTest, "channel "+n.Name, "this is a test of the notification channel "+n.Name, 0)
}

// Notices are what goes to a channel as one message.
type Notices struct {
	ID           string // the same as long as the same notices go together
	Organization string
	ChannelID    string
	Channel      model.NotificationChannel
	Lines        []model.Delivery // the oldest first
}

// DueNotices lists what is to be sent to channels now, one message for each, and the time until the next is due: 0 when there
// is none. What has no channel any more is listed as orphaned.
func DueNotices(r state.Reader) (due []Notices, orphaned []string, next time.Duration) {
	now := r.Now()
	by := map[string][]model.Delivery{}
	for _, d := range state.List[model.Delivery](r, model.AllNotices) {
		if wait := d.Next.Sub(now); wait > 0 {
			if next == 0 || wait < next {
				next = wait
			}
			continue
		}
		by[d.HookID] = append(by[d.HookID], *d)
	}
	for id, lines := range by {
		n, ok := state.Get[model.NotificationRow](r, id)
		h, failing := state.Get[model.WebhookHealth](r, id)
		if ok {
			_, err := n.Document.To()
			ok = err == nil && (!failing || !h.Disabled)
		}
		if !ok {
			for i := range lines {
				orphaned = append(orphaned, lines[i].ID)
			}
			continue
		}
		lines = together(lines)
		due = append(due, Notices{ID: noticesID(lines), Organization: organizationName(r, n.OrgID), ChannelID: id, Channel: n.Document, Lines: lines})
	}
	slices.SortFunc(due, func(a, b Notices) int { return a.Lines[0].Time.Compare(b.Lines[0].Time) })
	return due, orphaned, next
}

// together are the lines that go as one message: those that failed together stay together, so that another attempt is the same
// message.
func together(lines []model.Delivery) []model.Delivery {
	slices.SortFunc(lines, func(a, b model.Delivery) int {
		if c := a.Time.Compare(b.Time); c != 0 {
			return c
		}
		return slices.Compare([]byte(a.ID), []byte(b.ID))
	})
	first := lines[0]
	lines = slices.DeleteFunc(lines, func(d model.Delivery) bool {
		return d.Attempts != first.Attempts || first.Attempts > 0 && !d.Next.Equal(first.Next)
	})
	return lines[:min(len(lines), noticesLine)]
}

func noticesID(lines []model.Delivery) string {
	h := sha256.New()
	for i := range lines {
		_, _ = h.Write([]byte(lines[i].ID)) // a hash never fails
	}
	return "msg_" + hex.EncodeToString(h.Sum(nil)[:16])
}

// Noticed records the outcome of an attempt at a message: rec without attempt and next.
func Noticed(tx *state.Tx, n *Notices, rec model.DeliveryRecord, jitter float64) error {
	var d *model.Delivery
	pauses := retries()
	for i := range n.Lines {
		row, ok := state.Edit[model.Delivery](tx, n.Lines[i].ID)
		if !ok {
			continue
		}
		row.Attempts++
		d = row
		if rec.Error == "" || row.Attempts > len(pauses) {
			state.Delete[model.Delivery](tx, row.ID)
			continue
		}
		pause := pauses[row.Attempts-1]
		row.Next = tx.Now().Add(pause + time.Duration(jitter*float64(pause)/4))
		rec.Next = model.FormatTime(row.Next)
		if err := state.Put(tx, row); err != nil {
			return err
		}
	}
	if d == nil {
		return nil
	}
	rec.ID, rec.Kind, rec.Object, rec.Attempt = n.ID, d.Kind, fmt.Sprintf("%d notice(s)", len(n.Lines)), d.Attempts
	if rec.Error == "" {
		state.Delete[model.WebhookHealth](tx, d.HookID)
	} else if err := noticeFailed(tx, d, rec.Error, d.Attempts > len(pauses)); err != nil {
		return err
	}
	b, err := json.Marshal(rec)
	if err != nil {
		return fmt.Errorf("write the outcome of a notice: %w", err)
	}
	return state.AppendLog(tx, model.DeliveryLogOf(d.OrgID, d.HookID), b)
}

func noticeFailed(tx *state.Tx, d *model.Delivery, why string, gaveUp bool) error {
	if gaveUp {
		if err := tellHook(tx, d, fmt.Sprintf("a message was given up after %d attempts: %s", d.Attempts, why)); err != nil {
			return err
		}
	}
	return failed(tx, d, why)
}

// ChannelStanding is how a channel does: what waits, since when it fails, and why it leads nowhere, if it does.
func ChannelStanding(r state.Reader, orgID, name string) (id string, waiting int, health *model.WebhookHealth, err error) {
	n, err := NotificationChannels().find(r, orgID, orgID, name)
	if err != nil {
		return "", 0, nil, err
	}
	health, ok := state.Get[model.WebhookHealth](r, n.ID)
	if _, bad := n.Document.To(); bad != nil && !ok {
		health = &model.WebhookHealth{HookID: n.ID, OrgID: n.OrgID, Error: plainText(bad.Error())}
	}
	return n.ID, len(state.Keys[model.Delivery](r, model.DeliveriesOf(n.ID))), health, nil
}
