// Package virtualbox stands where Ignition imports its VirtualBox provider,
// which needs C. It registers nothing, so the platform is unknown.
package virtualbox
