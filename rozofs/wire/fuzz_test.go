package wire

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/rozofs-go/rozo/rozofs/vocab"
)

func FuzzFrame(f *testing.F) {
	f.Add(raw(header{total: 8, body: 4, id: 1, op: OpRead, flags: flagReply}, []byte("bodybulk")...))
	for _, bad := range badHeaders {
		f.Add(raw(bad.header))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bytes.NewReader(data)
		got, err := readFrame(r)
		switch {
		case err == nil:
			defer got.release()
			again := got.append(nil)
			again = append(again, got.bodyBuf.B...)
			if got.bulk != nil {
				again = append(again, got.bulk.B...)
			}
			if !bytes.Equal(again, data[:len(data)-r.Len()]) {
				t.Fatal("the frame is not what was read")
			}
			if len(got.bodyBuf.B) > MaxBody || got.bulk != nil && len(got.bulk.B) > MaxBulk {
				t.Fatal("over the limits")
			}
		case errors.Is(err, vocab.Protocol):
			if consumed := len(data) - r.Len(); consumed != HeaderBytes {
				t.Fatalf("%d bytes read of a refused frame", consumed)
			}
		case err != io.EOF && err != io.ErrUnexpectedEOF:
			t.Fatal(err)
		}
	})
}

// held is the memory that a decoded value refers to, in bytes.
func held(v reflect.Value) int {
	n := 0
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			n += held(v.Field(i))
		}
	case reflect.Slice:
		n = v.Cap() * int(v.Type().Elem().Size())
		for i := range v.Len() {
			n += held(v.Index(i))
		}
	case reflect.String:
		n = v.Len()
	}
	return n
}

// FuzzMessages decodes the data as the message that the first byte selects.
func FuzzMessages(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 1))
	for i, fresh := range messages {
		m := fresh()
		fillRandomly(r, reflect.ValueOf(m).Elem())
		f.Add(byte(i), Marshal(nil, m))
	}
	f.Fuzz(func(t *testing.T, which byte, data []byte) {
		fresh := messages[int(which)%len(messages)]
		m := fresh()
		err := Unmarshal(data, m)
		if n := held(reflect.ValueOf(m).Elem()); n > 3*len(data)+64 {
			t.Fatalf("%d bytes held after %d were decoded", n, len(data))
		}
		if err != nil {
			if !errors.Is(err, vocab.Protocol) {
				t.Fatal(err)
			}
			return
		}
		coded := Marshal(nil, m)
		if !bytes.HasPrefix(data, coded) {
			t.Fatalf("%x coded again is %x", data, coded)
		}
	})
}

func FuzzSlot(f *testing.F) {
	h, good := testSlot()
	f.Add(good, h.FID[:], h.Block)
	f.Add(make([]byte, SlotHeaderBytes), h.FID[:], uint64(0))
	f.Add(good[:20], h.FID[:], h.Block)
	f.Fuzz(func(t *testing.T, data, fid []byte, block uint64) {
		var want vocab.FID
		copy(want[:], fid)
		got, payload, state := ParseSlot(data, want, block)
		switch state {
		case SlotPresent:
			var again [SlotHeaderBytes]byte
			got.Put(again[:])
			if got.FID != want || got.Block != block || Checksum(payload) != got.PayloadCRC || len(payload) != int(got.PayloadBytes) {
				t.Fatal("a slot that is not the one asked for, or not intact")
			}
			// Flags and the reserved byte are kept by whoever wrote them; the rest is all there.
			if data[5] == 0 && data[7] == 0 && !bytes.Equal(again[:], data[:SlotHeaderBytes]) {
				t.Fatal("the header is not what was parsed")
			}
		case SlotAbsent:
			if len(bytes.Trim(data[:min(len(data), SlotHeaderBytes)], "\x00")) > 0 {
				t.Fatal("absent, but not zeros")
			}
		default:
			if payload != nil {
				t.Fatal("payload of a broken slot")
			}
		}
	})
}
