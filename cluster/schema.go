package cluster

// raisedSchema is the schema that the cluster has raised, as this node knows.
func (n *Node) raisedSchema() int { return 1 }
