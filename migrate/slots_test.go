package migrate

import (
	"context"
	"slices"
	"testing"
)

func TestTheMostUrgentOneIsNext(t *testing.T) {
	s := newSlots(1)
	free, err := s.take(t.Context(), 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	var waiting []*turn
	for _, priority := range []int{1, 3, 2, 3} {
		waiting = append(waiting, s.queue(priority))
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.take(gone, 9, nil); err == nil {
		t.Error("who has gone away got a slot")
	}
	var order []int
	for range waiting {
		free()
		for i, w := range waiting {
			select {
			case <-w.come:
				if !slices.Contains(order, i) {
					order = append(order, i)
				}
			default:
			}
		}
	}
	if want := []int{1, 3, 2, 0}; !slices.Equal(order, want) {
		t.Errorf("got %v, want %v", order, want)
	}
	free()
	if _, err := s.take(t.Context(), 0, nil); err != nil {
		t.Errorf("the slot was lost: %v", err)
	}
}

func TestASlotThatComesTooLateIsHandedOn(t *testing.T) {
	s := newSlots(1)
	free, err := s.take(t.Context(), 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	late, next := s.queue(1), s.queue(0)
	free()
	s.leave(late)
	select {
	case <-next.come:
	default:
		t.Error("the slot was lost")
	}
}
