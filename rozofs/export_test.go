package rozofs

// HoldSaves keeps the client from making the file durable on its own, as long as
// on is true. Calls that need the file's lease wait meanwhile.
func (h *Handle) HoldSaves(on bool) {
	h.f.mu.Lock()
	defer h.f.mu.Unlock()
	h.f.recalling = on
	h.f.broadcast()
}

// Handle gives tests the handle below a file.
func (f *File) Handle() *Handle { return f.h }
