/** `status` of a WorkerPool: what Muster found and did. What is not known is absent, never 0. */
import { z } from 'zod';
import { integer, listMap, time } from './schema.ts';

const count = () => integer(0, 2_147_483_647);

const conditionSchema = z.object({
  type: z.string().min(1).max(63).describe('What the condition is about.'),
  status: z.enum(['True', 'False', 'Unknown']).describe('Whether it holds.'),
  observedGeneration: integer(0, Number.MAX_SAFE_INTEGER)
    .describe('The metadata.generation that the condition was found for.')
    .exactOptional(),
  lastTransitionTime: time().describe('When status changed last.'),
  reason: z.string().min(1).max(128).describe('Why, as one word of a closed set.'),
  message: z.string().max(1024).describe('Why, in a sentence.'),
});

const tasksSchema = z.object({
  waiting: count().describe('Tasks in the queues.').exactOptional(),
  running: count().describe('Tasks being executed.').exactOptional(),
  held: count().describe('Tasks taken by a worker and not being executed.').exactOptional(),
});

const queueStatusSchema = z.object({
  name: z.string().max(200).describe('Name of the queue.'),
  ready: count().describe('Tasks waiting in the queue, over all priorities.').exactOptional(),
  running: count().describe('Tasks of the queue being executed.').exactOptional(),
  held: count().describe('Tasks of the queue taken by a worker and not being executed.').exactOptional(),
});

const decisionSchema = z.object({
  time: time().describe('When it was taken.'),
  from: count().describe('The size before.'),
  to: count().describe('The size after.'),
  reason: z.string().max(63).describe('Why, as one word: Backlog, BelowMinimum, Fixed, Idle and so on.'),
  message: z.string().max(1024).describe('Why, in a sentence.').exactOptional(),
  limitedBy: z
    .enum(['MinReplicas', 'MaxReplicas'])
    .describe('The bound that kept the size from what the load asked for.')
    .exactOptional(),
  inputs: z
    .object({
      waiting: count().describe('Tasks in the queues.').exactOptional(),
      running: count().describe('Tasks being executed.').exactOptional(),
      held: count().describe('Tasks held by workers.').exactOptional(),
      tasksPerReplica: count().describe('Tasks that one pod is meant for.').exactOptional(),
      minReplicas: count().describe('scaling.minReplicas then.').exactOptional(),
      maxReplicas: count().describe('scaling.maxReplicas then.').exactOptional(),
    })
    .describe('What the decision was taken from.'),
});

/** The schema of `status`. */
export const statusSchema = z.object({
  observedGeneration: integer(0, Number.MAX_SAFE_INTEGER)
    .describe('The metadata.generation that this status is about.')
    .exactOptional(),
  replicas: count().describe('Pods there are.').exactOptional(),
  readyReplicas: count().describe('Pods that are ready.').exactOptional(),
  desiredReplicas: count().describe('Pods there should be, as decided last.').exactOptional(),
  selector: z
    .string()
    .max(253)
    .describe('Label selector of the pods, for kubectl scale and autoscalers.')
    .exactOptional(),
  tasks: tasksSchema.describe('Tasks of all queues of the pool. A number that is not known is absent.').exactOptional(),
  queues: listMap(z.array(queueStatusSchema).max(64), 'name')
    .describe('The queues of the pool. A number that is not known is absent.')
    .exactOptional(),
  lastDecision: decisionSchema.describe('The last decision that changed the size.').exactOptional(),
  conditions: listMap(z.array(conditionSchema).max(16), 'type')
    .describe('What is well and what is not. Hazards are there only while they exist.')
    .exactOptional(),
});
