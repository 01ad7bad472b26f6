package signals

import "bytes"

// adapters is what the newest line told of LoRA adapters. Engines leave the older
// ones standing: the value of each is when it was written.
type adapters struct {
	at               float64
	most             int
	running, waiting []byte // as they stand there; of at most maxLine together
	trouble          Trouble
}

const mostAdapters = 1 << 16 // in memory at once

func (a *adapters) reset() {
	*a = adapters{running: a.running[:0], waiting: a.waiting[:0], trouble: NotTold}
}

// add reads the rest of a line that tells of adapters.
func (a *adapters) add(rest []byte) {
	labels, rest, ok := cutLabels(rest)
	at, trouble := readSample(rest)
	most, unknown := parse(labels.get("max_lora"))
	switch {
	case !ok:
		trouble = Malformed
	case trouble == Fine && at > maxTime:
		trouble = OutOfRange
	}
	if trouble != Fine {
		a.trouble = trouble
		return
	}
	if a.trouble == Fine && at <= a.at || a.trouble != Fine && a.trouble != NotTold {
		return
	}
	if unknown != Fine || most > mostAdapters {
		most = 0
	}
	a.at, a.most, a.trouble = at, int(most), Fine
	a.running = append(a.running[:0], labels.get("running_lora_adapters")...)
	a.waiting = append(a.waiting[:0], labels.get("waiting_lora_adapters")...)
}

const maxTime = 1e11 // in Unix seconds

// Adapters is which LoRA adapters requests run with and wait for, as names parted
// by commas, and how many the engine holds at once; 0: not known. ok is false where
// the text does not tell. The names are lent until the next Reset or Feed.
func (s *Scanner) Adapters() (running, waiting []byte, most int, ok bool) {
	a := &s.adapters
	return a.running, a.waiting, a.most, a.trouble == Fine
}

// EachAdapter calls do for each name of such a list.
func EachAdapter(list []byte, do func(name []byte)) {
	for name := range bytes.SplitSeq(list, []byte(",")) {
		if name = bytes.TrimSpace(name); len(name) > 0 {
			do(name)
		}
	}
}

// TellsAdapters reports whether the engine has a name for them.
func (p *Preset) TellsAdapters() bool { return p.adapters != "" }
