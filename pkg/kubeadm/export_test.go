package kubeadm

// Run lets tests name the kubeadm to run.
var Run = run
