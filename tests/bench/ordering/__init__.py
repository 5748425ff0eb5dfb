"""Parts of ``tests.bench.order``: traffic, policies, measures and plots, all on a virtual clock."""
