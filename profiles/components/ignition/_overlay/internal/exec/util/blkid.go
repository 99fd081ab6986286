package util

import "github.com/coreos/ignition/v2/internal/blkid"

type (
	DiskInfo       = blkid.DiskInfo
	PartitionInfo  = blkid.PartitionInfo
	FilesystemInfo = blkid.FilesystemInfo
)

// GetFilesystemInfo looks what file system is on a device.
func GetFilesystemInfo(device string, allowAmbivalent bool) (FilesystemInfo, error) {
	return blkid.GetFilesystemInfo(device, allowAmbivalent)
}

// DumpDisk reads the partition table of a disk.
func DumpDisk(device string) (DiskInfo, error) { return blkid.DumpDisk(device) }

// GetBlockDevices returns every device with that file system.
func GetBlockDevices(fstype string) ([]string, error) { return blkid.GetBlockDevices(fstype) }
