package pay

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// MaxTransfers bounds the number of transfers in a list.
const MaxTransfers = 1_000_000

// byteOrderMark is at the beginning of UTF-8 files of some editors and spreadsheets. It is not part of the text.
const byteOrderMark = "\ufeff"

// Transfer is one line of a list: payer, payee and amount. From is the name of an account, To a name or an address.
type Transfer struct {
	Line   int
	From   string
	To     string
	Amount uint64
}

// ReadList reads lines of from,to,amount. A first line with exactly these words is a header. Blank lines and lines that
// begin with # are skipped. An error names the line.
func ReadList(in io.Reader) ([]Transfer, error) {
	text := bufio.NewReader(in)
	if mark, _ := text.Peek(len(byteOrderMark)); string(mark) == byteOrderMark {
		_, _ = text.Discard(len(mark)) // cannot fail: these bytes were peeked
	} else if len(mark) > 1 && (mark[0] == 0xff && mark[1] == 0xfe || mark[0] == 0xfe && mark[1] == 0xff) {
		return nil, errors.New("the file is UTF-16: save it as UTF-8")
	}
	r := csv.NewReader(text)
	r.Comment = '#'
	r.FieldsPerRecord = -1 // counted below, for a clearer error
	r.TrimLeadingSpace = true
	r.ReuseRecord = true
	var list []Transfer
	for first := true; ; first = false {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		var syntax *csv.ParseError
		if errors.As(err, &syntax) {
			return nil, fmt.Errorf("line %d: %w", syntax.Line, syntax.Err)
		}
		if err != nil {
			return nil, fmt.Errorf("read transfers: %w", err)
		}
		line, _ := r.FieldPos(0)
		for i := range record {
			record[i] = strings.TrimSpace(record[i])
		}
		if first && len(record) == 3 && strings.EqualFold(strings.Join(record, ","), "from,to,amount") {
			continue
		}
		t, err := parseTransfer(record)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		if len(list) == MaxTransfers {
			return nil, fmt.Errorf("line %d: more than %d transfers, split the file", line, MaxTransfers)
		}
		t.Line = line
		list = append(list, t)
	}
	if len(list) == 0 {
		return nil, errors.New("no transfers: write lines of from,to,amount")
	}
	return list, nil
}

func parseTransfer(record []string) (t Transfer, err error) {
	if len(record) != 3 {
		return t, fmt.Errorf("%d fields, want 3: from,to,amount", len(record))
	}
	t.From, t.To = strings.Clone(record[0]), strings.Clone(record[1])
	switch {
	case t.From == "":
		return t, errors.New("from is empty: give an account name")
	case t.To == "":
		return t, errors.New("to is empty: give an account name or an address")
	}
	t.Amount, err = strconv.ParseUint(record[2], 10, 64)
	if err != nil || t.Amount == 0 {
		return t, fmt.Errorf("amount %q is not a whole number above 0 that fits in 64 bits", record[2])
	}
	return t, nil
}
