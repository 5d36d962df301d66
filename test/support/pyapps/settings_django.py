import gate

CELERY_TASK_ACKS_LATE = gate.OWN_ACKS_LATE
CELERY_WORKER_PREFETCH_MULTIPLIER = gate.OWN_PREFETCH
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 4321}
CELERY_TASK_ROUTES = {"own.*": {"queue": "own"}, "reports.*": {"queue": "users-choice"}}
