package metric

// ClusterFigures are what this replica and the others tell each other.
type ClusterFigures struct {
	Members                         int
	Scattered                       bool   // prompts go by homes: what others send is not known
	Sent, Received, Failed, Refused uint64 // packets
	Told, Heard, Dropped            uint64 // placements of prompts
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
}
