module github.com/slipway-os/slipway/profiles/components/pause

go 1.26.0
