package anabranch

import (
	"context"

	"anabranch/internal/sim"
)

// SimulateOptions configures Simulate. The zero value is five replicas that
// write fifty records.
type SimulateOptions = sim.Options

// Simulation is what a simulation came to.
type Simulation = sim.Result

// SimulationProgress is how far a simulation is.
type SimulationProgress = sim.Progress

// Simulate runs a world of replicas in virtual time: the engine, gossip,
// sessions and stores of this program over links that are simulated. It
// starts no replica here, opens no connection and writes no file. The same
// options give the same world, and the same TraceHash, everywhere.
//
// A world that does not converge is no error: see Simulation.Converged. The
// error is about the options, or ctx's.
func Simulate(ctx context.Context, o SimulateOptions) (Simulation, error) {
	return sim.Simulate(ctx, o)
}

// PlotSimulations draws simulations as SVG: "rounds" or "copies" against the
// number of replicas, "delays" of deliveries, or "healing" over time. An
// empty picture is the one that says most about them.
func PlotSimulations(picture string, simulations []Simulation) (string, error) {
	return sim.Plot(sim.Picture(picture), simulations)
}
