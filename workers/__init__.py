"""What happens after the acknowledgement: bridge, sequencer, lanes of actions, sweeper."""
