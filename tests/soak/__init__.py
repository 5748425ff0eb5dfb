"""A soak: callbacks with duplicates and disorder against ``deedbox up`` while its processes and brokers are killed.

``python -m tests.soak --seconds 300 --seed 1 [--rabbitmq]`` plays and then runs ``python -m tests.soak.verify DIR``,
which reads what was left behind and proves that every promise held. The same seed gives the same traffic and
the same kills; what they hit is up to the machine.
"""
