package orchestrate

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// The rules of deliveries.
const (
	eventsAtOnce      = 200                // events that one commit looks at
	deliveriesWaiting = 1000               // that may wait for one webhook
	markEvery         = 50                 // indexes of events that nobody wanted, until that is written down
	webhookPatience   = 5 * 24 * time.Hour // after so long without a success a webhook is disabled
)

// retries are the pauses after the failed attempts of a delivery: three days in all, then it is given up.
func retries() []time.Duration {
	return []time.Duration{5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute, time.Hour,
		3 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour, 24 * time.Hour}
}

// webhookMade completes a webhook that wants events, and makes one that was disabled begin anew.
func webhookMade(tx *state.Tx, w *model.WebhookRow) error {
	state.Delete[model.WebhookHealth](tx, w.ID)
	if len(w.Document.Events) == 0 {
		w.Since = 0
		return nil
	}
	if w.Since == 0 {
		w.Since = tx.Index()
	}
	return makeSecret(w)
}

// makeSecret gives a webhook without a signing secret one.
func makeSecret(w *model.WebhookRow) error {
	if w.Document.SigningSecret != "" {
		return nil
	}
	var key [32]byte
	if _, err := rand.Read(key[:]); err != nil {
		return fmt.Errorf("make a signing secret: %w", err)
	}
	w.Document.SigningSecret = model.SigningPrefix + base64.StdEncoding.EncodeToString(key[:])
	return nil
}

// RunOf is the webhook that somebody runs, and the webhook-id of the run. One without a signing secret gets it. Error:
// NotFound.
func RunOf(tx *state.Tx, orgID, name string) (row *model.WebhookRow, id string, err error) {
	found, err := Webhooks().find(tx, orgID, orgID, name)
	if err != nil {
		return nil, "", err
	}
	row, _ = state.Edit[model.WebhookRow](tx, found.ID)
	if row.Document.SigningSecret == "" {
		if err := makeSecret(row); err != nil {
			return nil, "", err
		}
		row.Version++
		if err := state.Put(tx, row); err != nil {
			return nil, "", err
		}
	}
	var raw [16]byte
	if _, err := rand.Read(raw[:]); err != nil {
		return nil, "", fmt.Errorf("make the id of a run: %w", err)
	}
	return row, "msg_" + hex.EncodeToString(raw[:]), nil
}

// Ran records the attempts of a run in the log of its webhook, unless that is gone.
func Ran(tx *state.Tx, row *model.WebhookRow, records []model.DeliveryRecord) error {
	if _, ok := state.Get[model.WebhookRow](tx.Quiet(), row.ID); !ok {
		return nil
	}
	for _, rec := range records {
		b, err := json.Marshal(rec)
		if err != nil {
			return fmt.Errorf("write the outcome of a run: %w", err)
		}
		if err := state.AppendLog(tx, model.DeliveryLogOf(row.OrgID, row.ID), b); err != nil {
			return err
		}
	}
	return nil
}

// FollowEvents looks at the next events, once, in one transaction: of each that a webhook wants a delivery is put. It
// tells whether there is more to look at. Where events were forgotten before they were looked at, the organizations with
// webhooks are told in their notification logs, and lost is true.
func FollowEvents(tx *state.Tx, v *state.View) (more, lost bool, err error) {
	mark, ok := state.Edit[model.EventMark](tx, model.EventMarkKey)
	if !ok {
		mark = &model.EventMark{Epoch: v.Epoch(), Index: v.Index(), Pos: ^uint32(0)} // what was before is nobody's
		return false, false, state.Put(tx, mark)
	}
	hooks := hooksOf(tx)
	after := state.Version{Index: mark.Index, Pos: mark.Pos}
	if mark.Epoch != v.Epoch() {
		lost, after = len(hooks) > 0, state.EventsStart(v)
	}
	if len(hooks) == 0 { // nobody wants any of them: what is not looked at costs nothing while much is written
		end := state.EventsEnd(v)
		if mark.Epoch == v.Epoch() && end.Index-mark.Index < 20*markEvery {
			return false, false, nil
		}
		mark.Epoch, mark.Index, mark.Pos = v.Epoch(), end.Index, end.Pos
		return false, false, state.Put(tx, mark)
	}
	looked := 0
	match := func(e *state.Event) bool { return len(hooks[e.Org]) > 0 }
	found, next, err := state.Events(v, after, eventsAtOnce, match)
	if model.CodeOf(err) == model.Gone {
		lost = len(hooks) > 0
		found, next, err = state.Events(v, state.EventsStart(v), eventsAtOnce, match)
	}
	if err != nil {
		return false, lost, err
	}
	if lost {
		if err := tellLost(tx, hooks); err != nil {
			return false, lost, err
		}
	}
	for i := range found {
		n, err := enqueue(tx, v.Epoch(), &found[i], hooks[found[i].Org])
		if err != nil {
			return false, lost, err
		}
		looked += n
	}
	// A commit for what it does, and now and then for what nobody wanted: that is looked at again after a failover.
	if looked == 0 && !lost && mark.Epoch == v.Epoch() && next.Index-mark.Index < markEvery {
		return false, false, nil
	}
	mark.Epoch, mark.Index, mark.Pos = v.Epoch(), next.Index, next.Pos
	return len(found) == eventsAtOnce, lost, state.Put(tx, mark)
}

// hooksOf are the webhooks that want events, by organization. What is disabled wants none.
func hooksOf(r state.Reader) map[string][]*model.WebhookRow {
	out := map[string][]*model.WebhookRow{}
	for _, w := range state.List[model.WebhookRow](r, model.EventWebhooks) {
		if h, ok := state.Get[model.WebhookHealth](r, w.ID); ok && h.Disabled {
			continue
		}
		out[w.OrgID] = append(out[w.OrgID], w)
	}
	return out
}

func tellLost(tx *state.Tx, hooks map[string][]*model.WebhookRow) error {
	orgs := []string{}
	for org := range hooks {
		orgs = append(orgs, org)
	}
	slices.Sort(orgs)
	for _, org := range orgs {
		if err := Tell(tx, model.NotificationLogOf(org), "", "",
			"webhooks: events were forgotten before they could be sent, as they were too many or the cluster was restored: read anew what you follow"); err != nil {
			return err
		}
	}
	return nil
}

// enqueue puts the deliveries of an event.
func enqueue(tx *state.Tx, epoch uint64, e *state.Event, hooks []*model.WebhookRow) (n int, err error) {
	for _, w := range hooks {
		if e.Version.Index <= w.Since || !w.Document.Wants(e.Kind) {
			continue
		}
		n++
		waiting := len(state.Keys[model.Delivery](tx.Quiet(), model.DeliveriesOf(w.ID)))
		if waiting >= deliveriesWaiting {
			if waiting == deliveriesWaiting {
				err = Tell(tx, model.NotificationLogOf(w.OrgID), "", "", fmt.Sprintf("webhook %s: %d events wait to be sent, and further ones are dropped: read anew what you follow", w.Name, waiting))
			}
			if err != nil {
				return n, err
			}
			continue
		}
		cursor := fmt.Sprintf("%d-%d", epoch, e.Version.Index)
		sum := sha256.Sum256([]byte(fmt.Sprintf("%s\x00%s-%d", w.ID, cursor, e.Version.Pos)))
		d := model.Delivery{ID: "msg_" + hex.EncodeToString(sum[:16]), OrgID: w.OrgID, HookID: w.ID, Kind: e.Kind, Object: e.Object,
			Actor: e.Actor, Cursor: cursor, Time: e.Time, Next: tx.Now()}
		if err := state.Put(tx, &d); err != nil {
			return n, err
		}
	}
	return n, nil
}

// DueDelivery is what is to be sent now.
type DueDelivery struct {
	model.Delivery
	Hook         model.Webhook
	Organization string
}

// DueDeliveries lists what is to be sent, the oldest first for each webhook, and the time until the next is due: 0 when
// there is none. What has no webhook any more is listed as orphaned.
func DueDeliveries(r state.Reader) (due []DueDelivery, orphaned []string, next time.Duration) {
	now := r.Now()
	for _, d := range state.List[model.Delivery](r, model.AllDeliveries) {
		w, ok := state.Get[model.WebhookRow](r, d.HookID)
		h, failing := state.Get[model.WebhookHealth](r, d.HookID)
		switch {
		case !ok || len(w.Document.Events) == 0 || failing && h.Disabled:
			orphaned = append(orphaned, d.ID)
		case d.Next.After(now):
			if wait := d.Next.Sub(now); next == 0 || wait < next {
				next = wait
			}
		default:
			due = append(due, DueDelivery{Delivery: *d, Hook: w.Document, Organization: organizationName(r, d.OrgID)})
		}
	}
	slices.SortStableFunc(due, func(a, b DueDelivery) int { return a.Time.Compare(b.Time) })
	return due, orphaned, next
}

// DropDeliveries deletes what has nobody to go to.
func DropDeliveries(tx *state.Tx, ids []string) {
	for _, id := range ids {
		state.Delete[model.Delivery](tx, id)
	}
}

// Delivered records the outcome of an attempt: rec without attempt and next. A delivery that is gone meanwhile is none.
func Delivered(tx *state.Tx, id string, rec model.DeliveryRecord, jitter float64) error {
	d, ok := state.Edit[model.Delivery](tx, id)
	if !ok {
		return nil
	}
	d.Attempts++
	rec.ID, rec.Kind, rec.Object, rec.Attempt = d.ID, d.Kind, d.Object, d.Attempts
	pauses := retries()
	switch {
	case rec.Error == "":
		state.Delete[model.Delivery](tx, id)
		state.Delete[model.WebhookHealth](tx, d.HookID)
	case d.Attempts > len(pauses):
		state.Delete[model.Delivery](tx, id)
		if err := tellHook(tx, d, fmt.Sprintf("%s of %s was given up after %d attempts: %s", d.Kind, d.Object, d.Attempts, rec.Error)); err != nil {
			return err
		}
	default:
		pause := pauses[d.Attempts-1]
		d.Next = tx.Now().Add(pause + time.Duration(jitter*float64(pause)/4))
		rec.Next = model.FormatTime(d.Next)
		if err := state.Put(tx, d); err != nil {
			return err
		}
	}
	if rec.Error != "" {
		if err := failed(tx, d, rec.Error); err != nil {
			return err
		}
	}
	b, err := json.Marshal(rec)
	if err != nil {
		return fmt.Errorf("write the outcome of a delivery: %w", err)
	}
	return state.AppendLog(tx, model.DeliveryLogOf(d.OrgID, d.HookID), b)
}

// failed notes that a webhook fails, and disables one that has failed for days.
func failed(tx *state.Tx, d *model.Delivery, why string) error {
	h, ok := state.Edit[model.WebhookHealth](tx, d.HookID)
	if !ok {
		h = &model.WebhookHealth{HookID: d.HookID, OrgID: d.OrgID, Since: tx.Now()}
	}
	h.Error = why
	if !h.Disabled && tx.Now().Sub(h.Since) > webhookPatience {
		h.Disabled = true
		if err := tellHook(tx, d, fmt.Sprintf("it is disabled, as it took nothing for %d days (%s): update it to have it tried again", int(webhookPatience/(24*time.Hour)), why)); err != nil {
			return err
		}
	}
	return state.Put(tx, h)
}

func tellHook(tx *state.Tx, d *model.Delivery, text string) error {
	name := "webhook " + d.HookID
	if n, ok := state.Get[model.NotificationRow](tx.Quiet(), d.HookID); ok {
		name = "channel " + n.Name
	} else if w, ok := state.Get[model.WebhookRow](tx.Quiet(), d.HookID); ok {
		name = "webhook " + w.Name
	}
	return Tell(tx, model.NotificationLogOf(d.OrgID), "", "", name+": "+text)
}

// WebhookStanding is how a webhook does: what waits, and since when it fails.
func WebhookStanding(r state.Reader, orgID, name string) (hook *model.WebhookRow, waiting int, health *model.WebhookHealth, err error) {
	k := Webhooks()
	if hook, err = k.find(r, orgID, orgID, name); err != nil {
		return nil, 0, nil, err
	}
	health, _ = state.Get[model.WebhookHealth](r, hook.ID)
	return hook, len(state.Keys[model.Delivery](r, model.DeliveriesOf(hook.ID))), health, nil
}
