package record

import (
	stded25519 "crypto/ed25519"
	"fmt"
	"testing"
)

// BenchmarkVerifyBatch covers all of VerifyBatch: decoding, hashing, ID and
// signature of records of about 360 bytes.
func BenchmarkVerifyBatch(b *testing.B) {
	for _, authors := range []int{1, 10, 100, 1000} {
		records := signedRecords(b, 4096, authors)
		for _, size := range []int{4, 16, 64, 256, 1024, 4096} {
			b.Run(fmt.Sprintf("authors=%d/batch=%d", authors, size), func(b *testing.B) {
				done := 0
				for b.Loop() {
					at := done % len(records)
					if _, errs := VerifyBatch(testSpace, records[at:at+size]); errs[0] != nil {
						b.Fatal(errs[0])
					}
					done += size
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(done), "ns/record")
			})
		}
	}
}

// BenchmarkVerifyBatchWrong measures what a hostile peer can make us spend.
func BenchmarkVerifyBatchWrong(b *testing.B) {
	for _, c := range []struct{ size, authors, wrong int }{
		{1024, 10, 1}, {1024, 10, 4}, {1024, 10, 16}, {1024, 10, 256}, {1024, 10, 1024}, {64, 64, 64}, {1024, 1024, 1024},
	} {
		records := signedRecords(b, c.size, c.authors)
		for i := range c.wrong {
			records[i*(c.size/c.wrong)][headerSize+40] ^= 1 // the payload
		}
		b.Run(fmt.Sprintf("authors=%d/batch=%d/wrong=%d", c.authors, c.size, c.wrong), func(b *testing.B) {
			done := 0
			for b.Loop() {
				VerifyBatch(testSpace, records)
				done += c.size
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(done), "ns/record")
		})
	}
}

func BenchmarkVerifyAlone(b *testing.B) {
	records := signedRecords(b, 256, 10)
	b.Run("zip215", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			if _, err := Verify(testSpace, records[i%len(records)]); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("standard", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			r, err := Decode(records[i%len(records)])
			if err != nil || !stded25519.Verify(r.Author[:], r.appendMessage(nil, testSpace), r.Signature[:]) {
				b.Fatal("does not hold")
			}
		}
	})
}

func BenchmarkCodec(b *testing.B) {
	entry := signedRecords(b, 1, 1)[0]
	doc := Record{Kind: Doc, Time: 1, Lane: 1, Seq: 1, Expires: 2, Path: "/notes/2026/plan", Payload: make([]byte, 200)}
	for i := range 8 {
		doc.Replaces = append(doc.Replaces, Replaced{Lane: Tag{byte(i + 1)}, Number: 1})
	}
	for _, c := range []struct {
		name  string
		bytes []byte
	}{{"plain", entry}, {"replaces=8", doc.Append(nil)}} {
		r, err := Decode(c.bytes)
		if err != nil {
			b.Fatal(err)
		}
		b.Run("append/"+c.name, func(b *testing.B) {
			b.ReportAllocs()
			buf := make([]byte, 0, len(c.bytes))
			for b.Loop() {
				buf = r.Append(buf[:0])
			}
		})
		b.Run("decode/"+c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Decode(c.bytes); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("restore/"+c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Restore(testSpace, c.bytes); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
