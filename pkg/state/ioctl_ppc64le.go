package state

// resizeRequest is EXT4_IOC_RESIZE_FS with the direction bits of POWER.
func resizeRequest() uintptr { return 4<<29 | 8<<16 | 'f'<<8 | 16 }
