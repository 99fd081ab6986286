//go:build !ppc64le

package state

// resizeRequest is EXT4_IOC_RESIZE_FS, fs/ext4/ext4.h.
func resizeRequest() uintptr { return 1<<30 | 8<<16 | 'f'<<8 | 16 }
