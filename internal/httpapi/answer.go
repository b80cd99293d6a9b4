package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"strconv"
)

// Error is a refusal: a status, and one sentence for whoever asked.
type Error struct {
	Status   int
	Sentence string
	// Header is what belongs to it besides, such as Retry-After.
	Header http.Header
}

// Error returns the sentence.
func (e *Error) Error() string { return e.Sentence }

// Errorf returns a refusal. What a client said belongs into it only in quotes
// and cut off, see [Quote].
func Errorf(status int, format string, args ...any) error {
	return &Error{Status: status, Sentence: fmt.Sprintf(format, args...)}
}

// errNotModified is that the client has it already.
var errNotModified = &Error{Status: http.StatusNotModified}

// Quote makes what a client said fit for a sentence.
func Quote(s string) string {
	const most = 80
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strconv.QuoteToASCII(s)
}

// WriteJSON answers with v. It is encoded whole before anything is written, so
// that what can't be encoded is an error. For long lists see [WriteList].
func WriteJSON(w http.ResponseWriter, status int, v any) error {
	var b bytes.Buffer
	if err := encoder(&b).Encode(v); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
	w.WriteHeader(status)
	_, err := w.Write(b.Bytes())
	return err
}

func encoder(b *bytes.Buffer) *json.Encoder {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	return e
}

// flushAt is how much of a list is encoded before it is written.
const flushAt = 32 << 10

// WriteList answers with a list, which is written as it is made: a long one costs
// no more memory than a short one.
func WriteList[T any](w http.ResponseWriter, all iter.Seq[T]) error {
	w.Header().Set("Content-Type", "application/json")
	var b bytes.Buffer
	e := encoder(&b)
	b.WriteByte('[')
	first := true
	for v := range all {
		if !first {
			b.WriteByte(',')
		}
		first = false
		if err := e.Encode(v); err != nil {
			return err
		}
		b.Truncate(b.Len() - 1) // its newline
		if b.Len() >= flushAt {
			if _, err := w.Write(b.Bytes()); err != nil {
				return err
			}
			b.Reset()
		}
	}
	b.WriteString("]\n")
	_, err := w.Write(b.Bytes())
	return err
}

// writeError is how a refusal looks unless a family has it otherwise.
func writeError(w http.ResponseWriter, status int, sentence string) {
	// It can't fail but for a client that is gone.
	_ = WriteJSON(w, status, map[string]string{"error": sentence})
}

// asError returns what the client is told of an error, and whether that is not
// all of it.
func asError(err error) (told *Error, hidden bool) {
	var e *Error
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &e):
		return e, false
	case errors.As(err, &tooLarge):
		return errTooLarge, false
	}
	return &Error{Status: http.StatusInternalServerError, Sentence: "something is wrong here: the server's log says what"}, true
}

var errTooLarge = &Error{Status: http.StatusRequestEntityTooLarge, Sentence: fmt.Sprintf("the body is larger than %d KiB", maxBody>>10)}
