package admission

import "container/heap"

// ordered is a heap. Each item stores its index in the heap, so that it can be removed.
type ordered[T any] struct {
	items []T
	less  func(a, b T) bool
	place func(T) *int // where the item stores its index in the heap plus 1; 0 if it is not in the heap
}

func (h *ordered[T]) Len() int           { return len(h.items) }
func (h *ordered[T]) Less(i, j int) bool { return h.less(h.items[i], h.items[j]) }
func (h *ordered[T]) Swap(i, j int) {
	h.items[i], h.items[j] = h.items[j], h.items[i]
	*h.place(h.items[i]), *h.place(h.items[j]) = i+1, j+1
}

// Push implements [heap.Interface].
func (h *ordered[T]) Push(x any) {
	item := x.(T)
	h.items = append(h.items, item)
	*h.place(item) = len(h.items)
}

// Pop implements [heap.Interface].
func (h *ordered[T]) Pop() any {
	last := len(h.items) - 1
	item := h.items[last]
	var none T
	h.items[last] = none
	h.items = h.items[:last]
	*h.place(item) = 0
	return item
}

func (h *ordered[T]) add(item T) {
	if *h.place(item) == 0 {
		heap.Push(h, item)
	}
}

func (h *ordered[T]) remove(item T) {
	if at := *h.place(item); at > 0 {
		heap.Remove(h, at-1)
	}
}

// moved restores the order of the heap after the key of an item changed.
func (h *ordered[T]) moved(item T) {
	if at := *h.place(item); at > 0 {
		heap.Fix(h, at-1)
	}
}

// top returns the least item; ok is false if the heap is empty.
func (h *ordered[T]) top() (item T, ok bool) {
	if len(h.items) == 0 {
		return item, false
	}
	return h.items[0], true
}
