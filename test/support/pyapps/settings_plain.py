import gate

task_acks_late = gate.OWN_ACKS_LATE
worker_prefetch_multiplier = gate.OWN_PREFETCH
worker_disable_prefetch = True
task_routes = {"own.*": "own"}
