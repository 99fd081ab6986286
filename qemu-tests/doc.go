// Package qemutests boots what was baked, through the machine's own firmware
// and with no way out to any network, and checks what a user would see. It
// holds tests only; `make qemu-test` runs them. What a machine prints is in
// out/qemu-tests/NAME.log while it runs; each start there says how to log in.
// Tests that end with the boot run two at a time, those of whole clusters alone.
package qemutests
