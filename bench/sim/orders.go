package sim

// Orders in a prompt: parsing them. What each means is in the package's comment.

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// maxTokenBytes is the largest token the size order may ask for.
const maxTokenBytes = 1 << 20

// orders is what the prompt asked for. The after-fields are -1 when not ordered.
type orders struct {
	ttft, gap  time.Duration // -1 when not ordered
	tokens     int           // 0 when not ordered
	size       int
	finish     string
	tool       string
	status     int
	retryAfter time.Duration
	id         string
	times      int

	errorAfter, cutAfter, stallAfter int
}

// paced reports whether the sequence keeps its own time instead of the model's.
// One that stalls does, so that it holds its blocks until its client leaves.
func (o *orders) paced() bool { return o.ttft >= 0 || o.gap >= 0 || o.stallAfter >= 0 }

var ordersStart = regexp.MustCompile(`(?:^|\s)sim:`)

// parseOrders reads the first orders in text; without any it returns none.
func parseOrders(text string) (orders, error) {
	o := orders{ttft: -1, gap: -1, errorAfter: -1, cutAfter: -1, stallAfter: -1}
	at := ordersStart.FindStringIndex(text)
	if at == nil {
		return o, nil
	}
	list, _, ended := strings.Cut(text[at[1]:], ";")
	if !ended {
		return o, fmt.Errorf("cannot read orders: no ';' ends them")
	}
	seen := make(map[string]bool)
	for pair := range strings.SplitSeq(list, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
		if seen[name] {
			return o, fmt.Errorf("cannot read order %q: it stands twice", name)
		}
		seen[name] = true
		if err := o.set(name, value); err != nil {
			return o, fmt.Errorf("cannot read order %q: %w", name, err)
		}
	}
	switch {
	case o.status == 0 && (seen["retry_after"] || seen["times"] || seen["id"]):
		return o, fmt.Errorf("cannot read orders: retry_after, times and id need error")
	case seen["times"] != seen["id"]:
		return o, fmt.Errorf("cannot read orders: times needs id, and id needs times")
	}
	return o, nil
}

func (o *orders) set(name, value string) (err error) {
	switch name {
	case "ttft":
		o.ttft, err = parseOrderTime(value)
	case "gap":
		o.gap, err = parseOrderTime(value)
	case "tokens":
		o.tokens, err = parseOrderInt(value, 1, 1<<24)
	case "size":
		o.size, err = parseOrderSize(value)
	case "finish":
		o.finish = value
		if value != "stop" && value != "length" && value != "content_filter" {
			err = fmt.Errorf("%q is none of stop, length, content_filter", value)
		}
	case "tool":
		if o.tool = value; value == "" {
			err = fmt.Errorf("it names no tool")
		}
	case "error":
		o.status, err = parseOrderInt(value, 400, 599)
	case "retry_after":
		o.retryAfter, err = parseOrderTime(value)
	case "id":
		if o.id = value; value == "" || len(value) > 128 {
			err = fmt.Errorf("it has %d bytes, not 1 to 128", len(value))
		}
	case "times":
		o.times, err = parseOrderInt(value, 1, 1<<20)
	case "error_after":
		o.errorAfter, err = parseOrderInt(value, 0, 1<<24)
	case "cut_after":
		o.cutAfter, err = parseOrderInt(value, 0, 1<<24)
	case "stall_after":
		o.stallAfter, err = parseOrderInt(value, 0, 1<<24)
	default:
		err = fmt.Errorf("there is no such order")
	}
	return err
}

func parseOrderInt(value string, least, most int) (int, error) {
	n, err := strconv.Atoi(value)
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("%q is no whole number from %d to %d", value, least, most)
	}
	return n, nil
}

func parseOrderTime(value string) (time.Duration, error) {
	d, err := time.ParseDuration(value)
	if err != nil || d < 0 || d > 24*time.Hour {
		return 0, fmt.Errorf("%q is no duration from 0s to 24h", value)
	}
	return d, nil
}

func parseOrderSize(value string) (int, error) {
	digits, factor := value, 1
	for _, u := range []struct {
		suffix string
		factor int
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"B", 1}} {
		if s, ok := strings.CutSuffix(value, u.suffix); ok {
			digits, factor = s, u.factor
			break
		}
	}
	n, err := strconv.Atoi(digits)
	if err != nil || n < 1 || n > maxTokenBytes/factor {
		return 0, fmt.Errorf("%q is no size from 1B to 1MiB", value)
	}
	return n * factor, nil
}
