package metric

// ClusterFigures are what this replica and the others tell each other.
type ClusterFigures struct {
	Members                         int
	Scattered                       bool   // prompts go by homes: what others send is not known
	Sent, Received, Failed, Refused uint64 // packets
	Told, Heard, Dropped            uint64 // placements of prompts
	HintsTold, HintsHeard           uint64 // of backends that went out
	HintsChecked, HintsDropped      uint64 // what came of those that were heard; those there was no time for
}

// Cluster has these figures written with each scrape.
func (m *Metrics) Cluster(figures func() ClusterFigures) {
	o := &m.operations
	o.mu.Lock()
	defer o.mu.Unlock()
	o.cluster = figures
}

func writeCluster(t *text, f ClusterFigures) {
	t.family(clusterMembers)
	t.sample(clusterMembers.name, uint64(f.Members))
	t.family(clusterHomes)
	t.sample(clusterHomes.name, oneIf(f.Scattered))
	t.family(clusterPackets)
	t.sample(clusterPackets.name, f.Sent, "result", "sent")
	t.sample(clusterPackets.name, f.Received, "result", "received")
	t.sample(clusterPackets.name, f.Failed, "result", "failed")
	t.sample(clusterPackets.name, f.Refused, "result", "refused")
	t.family(clusterPlacements)
	t.sample(clusterPlacements.name, f.Told, "result", "told")
	t.sample(clusterPlacements.name, f.Heard, "result", "heard")
	t.sample(clusterPlacements.name, f.Dropped, "result", "dropped")
	t.family(clusterHints)
	t.sample(clusterHints.name, f.HintsTold, "result", "told")
	t.sample(clusterHints.name, f.HintsHeard, "result", "heard")
	t.sample(clusterHints.name, f.HintsChecked, "result", "checked")
	t.sample(clusterHints.name, f.HintsDropped, "result", "dropped")
}
