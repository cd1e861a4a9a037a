package main

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// wallClock is the wall clock of a process that was started by startOnClock. The Go runtime asks for the time by
// the code that the kernel maps into each process, not by libc: so that code is replaced in this one process, by
// some that asks the kernel and adds what is written behind it. Nothing else of the machine sees another time.
type wallClock struct {
	memory *os.File
	offset int64 // address of what is added, in seconds
}

// clockCode answers clock_gettime(edi, rsi): the kernel's time, and offsetAt bytes after the start the seconds
// that are added if the clock is the wall's, which is number 0.
var clockCode = []byte{
	0xb8, 228, 0, 0, 0, // mov eax, SYS_clock_gettime
	0x0f, 0x05, // syscall
	0x85, 0xff, // test edi, edi
	0x75, 0x0a, // jnz the end
	0x48, 0x8b, 0x0d, offsetAt - 18, 0, 0, 0, // mov rcx, [rip + …]
	0x48, 0x01, 0x0e, // add [rsi], rcx
	0xc3, // ret
}

const offsetAt = 32

// startOnClock starts the command on a wall clock of its own. The code is replaced before the process has run any.
// With errOneClock it runs, on that of everybody.
func startOnClock(cmd *exec.Cmd) (*wallClock, error) {
	runtime.LockOSThread() // who started a traced process has to let it go
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	pid := cmd.Process.Pid
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil || !status.Stopped() {
		return nil, fmt.Errorf("process %d is not stopped at its start: %x, %w", pid, status, err)
	}
	c, err := takeClock(pid)
	if err != nil {
		err = fmt.Errorf("%w: %w", errOneClock, err)
	}
	return c, errors.Join(err, syscall.PtraceDetach(pid))
}

// takeClock replaces the code that tells the time in a process that is stopped.
func takeClock(pid int) (*wallClock, error) {
	memory, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	from, image, err := mappedCode(pid, memory)
	if err != nil {
		return nil, err
	}
	file, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return nil, err
	}
	symbols, err := file.DynamicSymbols()
	if err != nil {
		return nil, err
	}
	for _, s := range symbols {
		if s.Name != "__vdso_clock_gettime" || s.Size < offsetAt+8 {
			continue
		}
		at := from + int64(s.Value)
		if _, err := memory.WriteAt(append(bytes.Clone(clockCode), make([]byte, offsetAt+8-len(clockCode))...), at); err != nil {
			return nil, err
		}
		return &wallClock{memory: memory, offset: at + offsetAt}, nil
	}
	return nil, errors.New("the kernel maps no function that tells the time")
}

// mappedCode returns what the kernel has mapped into the process, and where.
func mappedCode(pid int, memory io.ReaderAt) (from int64, image []byte, err error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return 0, nil, err
	}
	for line := range strings.Lines(string(maps)) {
		var to int64
		if !strings.Contains(line, "[vdso]") {
			continue
		}
		if _, err := fmt.Sscanf(line, "%x-%x", &from, &to); err != nil {
			return 0, nil, err
		}
		image = make([]byte, to-from)
		_, err = memory.ReadAt(image, from)
		return from, image, err
	}
	return 0, nil, errors.New("the kernel maps no code into the process")
}

// jump puts the wall clock so far from that of all others.
func (c *wallClock) jump(to time.Duration) error {
	_, err := c.memory.WriteAt(binary.LittleEndian.AppendUint64(nil, uint64(to/time.Second)), c.offset)
	return err
}
