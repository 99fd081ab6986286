package clusterapi

import (
	"bytes"
	"strings"

	"github.com/clarketm/json" // leaves out empty structs, as Butane does
	"github.com/coreos/ignition/v2/config/v3_6/types"

	"github.com/slipway-os/slipway/pkg/ignition"
)

// commands are what the user wants to run on the node.
type commands struct {
	boot   script // at every boot, early
	before script // once, before the node is configured
	after  script // once, when it is
}

// script is a list of commands.
type script struct {
	lines []string
	// strict ends it at the first command that fails, as the bootstrap
	// provider's own script for Ignition does; cloud-init goes on.
	strict bool
}

const scriptDir = "/etc/slipway/cluster-api/"

func (s script) content() []byte {
	var b strings.Builder
	if s.strict {
		b.WriteString("#!/bin/bash\nset -e\n")
	} else {
		b.WriteString("#!/bin/sh\n")
	}
	for _, l := range s.lines {
		b.WriteString(strings.TrimRight(l, "\n") + "\n")
	}
	if !s.strict {
		b.WriteString("exit 0\n")
	}
	return []byte(b.String())
}

func (c commands) files() []given {
	var files []given
	for _, s := range []struct {
		name string
		script
	}{{"boot.sh", c.boot}, {"before.sh", c.before}, {"after.sh", c.after}} {
		if len(s.lines) > 0 {
			files = append(files, given{File: ignition.File(scriptDir+s.name, 0o700, s.content())})
		}
	}
	return files
}

// Units by which the scripts run. Output goes to the console, too: of a machine
// in a cloud it may be all that anybody sees.
const (
	bootUnit = `[Unit]
Description=Commands of the user data for every boot
Before=containerd.service kubelet.service slipway-configure.service

[Service]
Type=oneshot
ExecStart=` + scriptDir + `boot.sh
StandardOutput=journal+console
StandardError=journal+console

[Install]
WantedBy=multi-user.target
`
	beforeUnit = `[Unit]
Description=Commands of the user data before the node is configured
ConditionPathExists=!` + scriptDir + `before.done
Wants=network-online.target containerd.service
After=network-online.target containerd.service slipway-boot-commands.service
Before=slipway-configure.service

[Service]
Type=oneshot
ExecStart=` + scriptDir + `before.sh
ExecStartPost=/usr/bin/touch ` + scriptDir + `before.done
StandardOutput=journal+console
StandardError=journal+console

[Install]
WantedBy=multi-user.target
`
	// What waits for it is no other unit: configuring goes on for as long as
	// the node has to wait for its cluster.
	beforeDropin = `[Unit]
Requires=slipway-before-commands.service
After=slipway-before-commands.service
`
	afterPath = `[Unit]
Description=Wait for the node to be configured
ConditionPathExists=!` + scriptDir + `after.done

[Path]
PathChanged=/run/cluster-api/bootstrap-success.complete
Unit=slipway-after-commands.service

[Install]
WantedBy=paths.target
`
	afterUnit = `[Unit]
Description=Commands of the user data once the node is configured

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=` + scriptDir + `after.sh
ExecStartPost=/usr/bin/touch ` + scriptDir + `after.done
StandardOutput=journal+console
StandardError=journal+console
`
)

func (c commands) units() []types.Unit {
	var units []types.Unit
	add := func(name, contents string) {
		yes := true
		units = append(units, types.Unit{Name: name, Enabled: &yes, Contents: &contents})
	}
	if len(c.boot.lines) > 0 {
		add("slipway-boot-commands.service", bootUnit)
	}
	if len(c.before.lines) > 0 {
		add("slipway-before-commands.service", beforeUnit)
		dropin := beforeDropin
		units = append(units, types.Unit{Name: "slipway-configure.service", Dropins: []types.Dropin{{Name: "20-before-commands.conf", Contents: &dropin}}})
	}
	if len(c.after.lines) > 0 {
		add("slipway-after-commands.path", afterPath)
		contents := afterUnit
		units = append(units, types.Unit{Name: "slipway-after-commands.service", Contents: &contents})
	}
	return units
}

// marshal writes a config: compact JSON, always the same for the same config.
func marshal(c types.Config) ([]byte, error) {
	data, err := json.Marshal(c)
	return append(bytes.TrimSpace(data), '\n'), err
}
