/**
 * Bytes as kombu 5.7.0 and Celery 5.6.3 wrote them into Redis, captured from real producers, consumers and workers:
 * what a consumer had taken and not acknowledged, the bindings of its exchanges, and what a worker published.
 */

/** Entries of the hash `unacked`: delivery tag and value. */
export const unackedEntries: readonly (readonly [tag: string, value: string])[] = [
  [
    'c1c84577-d948-4db1-abd6-a90d61c891ac',
    String.raw`[{"body": "W1syLCAzXSwge30sIHsiY2FsbGJhY2tzIjogbnVsbCwgImVycmJhY2tzIjogbnVsbCwgImNoYWluIjogbnVsbCwgImNob3JkIjogbnVsbH1d", "content-encoding": "utf-8", "content-type": "application/json", "headers": {"lang": "py", "task": "proj.add", "id": "6352795d-4ccc-4585-ad60-0fa79444bde6", "shadow": null, "eta": null, "expires": null, "group": null, "group_index": null, "retries": 0, "timelimit": [null, null], "root_id": "6352795d-4ccc-4585-ad60-0fa79444bde6", "parent_id": null, "argsrepr": "(2, 3)", "kwargsrepr": "{}", "origin": "gen4254@vm", "ignore_result": false, "replaced_task_nesting": 0, "stamped_headers": null, "stamps": {}}, "properties": {"correlation_id": "6352795d-4ccc-4585-ad60-0fa79444bde6", "reply_to": "551a9151-b2c1-3274-b2b4-d069b0253c18", "delivery_mode": 2, "delivery_info": {"exchange": "", "routing_key": "celery"}, "priority": 0, "body_encoding": "base64", "delivery_tag": "c1c84577-d948-4db1-abd6-a90d61c891ac"}}, "", "celery"]`,
  ],
  [
    '5fadb834-0677-4c9b-9e4c-1c957a3ac531',
    String.raw`[{"body": "eyJiIjogMX0=", "content-encoding": "utf-8", "content-type": "application/json", "headers": {}, "properties": {"delivery_mode": 2, "delivery_info": {"exchange": "", "routing_key": "wei\u00df \"\u00fc\\"}, "priority": 0, "body_encoding": "base64", "delivery_tag": "5fadb834-0677-4c9b-9e4c-1c957a3ac531"}}, "", "wei\u00df \"\u00fc\\"]`,
  ],
  [
    'c9539ef1-8621-493f-856e-c4fe70b17763',
    String.raw`[{"body": "eyJhIjogIlwiLCBcInhcIiwgXCJ5XCJdIn0=", "content-encoding": "utf-8", "content-type": "application/json", "headers": {}, "properties": {"delivery_mode": 2, "delivery_info": {"exchange": "events", "routing_key": "shop.order.paid"}, "priority": 0, "body_encoding": "base64", "delivery_tag": "c9539ef1-8621-493f-856e-c4fe70b17763"}}, "events", "shop.order.paid"]`,
  ],
  [
    '3e40e472-25dc-428a-81d3-ad2e7a2f49d4',
    String.raw`[{"body": "eyJhIjogMX0=", "content-encoding": "utf-8", "content-type": "application/json", "headers": {}, "properties": {"delivery_mode": 2, "delivery_info": {"exchange": "orders", "routing_key": "slow"}, "priority": 0, "body_encoding": "base64", "delivery_tag": "3e40e472-25dc-428a-81d3-ad2e7a2f49d4"}}, "orders", "slow"]`,
  ],
  [
    '46874711-a7b4-4d92-b2a1-af03f4ae1978',
    String.raw`[{"body": "W1syLCAzXSwge30sIHsiY2FsbGJhY2tzIjogbnVsbCwgImVycmJhY2tzIjogbnVsbCwgImNoYWluIjogbnVsbCwgImNob3JkIjogbnVsbH1d", "content-encoding": "utf-8", "content-type": "application/json", "headers": {"lang": "py", "task": "proj.add", "id": "4d406ca6-a949-4bd0-bb1c-7ad25b861528", "shadow": null, "eta": null, "expires": null, "group": null, "group_index": null, "retries": 0, "timelimit": [null, null], "root_id": "4d406ca6-a949-4bd0-bb1c-7ad25b861528", "parent_id": null, "argsrepr": "(2, 3)", "kwargsrepr": "{}", "origin": "gen4254@vm", "ignore_result": false, "replaced_task_nesting": 0, "stamped_headers": null, "stamps": {}}, "properties": {"correlation_id": "4d406ca6-a949-4bd0-bb1c-7ad25b861528", "reply_to": "551a9151-b2c1-3274-b2b4-d069b0253c18", "delivery_mode": 2, "delivery_info": {"exchange": "", "routing_key": "celery"}, "priority": 9, "body_encoding": "base64", "delivery_tag": "46874711-a7b4-4d92-b2a1-af03f4ae1978"}}, "", "celery"]`,
  ],
];

/** Members of `_kombu.binding.<exchange>`. */
export const bindingSets: Readonly<Record<string, readonly string[]>> = {
  celery: ['celery\u0006\u0016\u0006\u0016celery'],
  events: [
    'shop.#\u0006\u0016^shop\\..*?$\u0006\u0016audit',
    'shop.*.paid\u0006\u0016^shop\\.[^\\.]+\\.paid$\u0006\u0016mail',
  ],
  orders: ['slow\u0006\u0016\u0006\u0016orders-slow'],
};

/** A worker of pool shop/reports in pod reports-5c9d-abcde with muster_worker.py: what it published, by event. */
export const published = {
  online: String.raw`{"body": "eyJob3N0bmFtZSI6ICJyZXBvcnRzQHJlcG9ydHMtNWM5ZC1hYmNkZSIsICJ1dGNvZmZzZXQiOiAwLCAicGlkIjogNDY3NSwgImNsb2NrIjogMSwgImZyZXEiOiAyLjAsICJhY3RpdmUiOiAwLCAicHJvY2Vzc2VkIjogMCwgImxvYWRhdmciOiBbNi43NCwgNS40MywgMy42Ml0sICJzd19pZGVudCI6ICJweS1jZWxlcnkiLCAic3dfdmVyIjogIjUuNi4zIiwgInN3X3N5cyI6ICJMaW51eCIsICJ0aW1lc3RhbXAiOiAxNzk1Mzg0Mjk4LjgzOTk4MDYsICJ0eXBlIjogIndvcmtlci1vbmxpbmUifQ==", "content-encoding": "utf-8", "content-type": "application/json", "headers": {"hostname": "reports@reports-5c9d-abcde"}, "properties": {"delivery_mode": 1, "delivery_info": {"exchange": "celeryev", "routing_key": "worker.online"}, "priority": 0, "body_encoding": "base64", "delivery_tag": "3f685c63-59e4-4ea5-b05d-fa9996cfd5d2"}}`,
  heartbeat: String.raw`{"body": "eyJob3N0bmFtZSI6ICJyZXBvcnRzQHJlcG9ydHMtNWM5ZC1hYmNkZSIsICJ1dGNvZmZzZXQiOiAwLCAicGlkIjogNDY3NSwgImNsb2NrIjogMiwgImZyZXEiOiAyLjAsICJhY3RpdmUiOiAwLCAicHJvY2Vzc2VkIjogMCwgImxvYWRhdmciOiBbNi43NCwgNS40MywgMy42Ml0sICJzd19pZGVudCI6ICJweS1jZWxlcnkiLCAic3dfdmVyIjogIjUuNi4zIiwgInN3X3N5cyI6ICJMaW51eCIsICJtdXN0ZXIiOiB7InYiOiAxLCAicG9vbCI6ICJzaG9wL3JlcG9ydHMiLCAiYWNrTW9kZSI6ICJMYXRlIiwgInByZWZldGNoIjogIkZhaXIiLCAicXVldWVzIjogWyJjZWxlcnkiXSwgInNsb3RzIjogMSwgInJ1bm5pbmciOiB7fSwgImhlbGQiOiB7fSwgInNjaGVkdWxlZCI6IDAsICJwcm9ibGVtcyI6IFtdfSwgInRpbWVzdGFtcCI6IDE3OTUzODQzMDAuODQ1MjA3LCAidHlwZSI6ICJ3b3JrZXItaGVhcnRiZWF0In0=", "content-encoding": "utf-8", "content-type": "application/json", "headers": {"hostname": "reports@reports-5c9d-abcde"}, "properties": {"delivery_mode": 1, "delivery_info": {"exchange": "celeryev", "routing_key": "worker.heartbeat"}, "priority": 0, "body_encoding": "base64", "delivery_tag": "a93f532e-6b21-4801-a432-266eeffe3aea"}}`,
  offline: String.raw`{"body": "eyJob3N0bmFtZSI6ICJyZXBvcnRzQHJlcG9ydHMtNWM5ZC1hYmNkZSIsICJ1dGNvZmZzZXQiOiAwLCAicGlkIjogNDY3NSwgImNsb2NrIjogNSwgImZyZXEiOiAyLjAsICJhY3RpdmUiOiAwLCAicHJvY2Vzc2VkIjogMCwgImxvYWRhdmciOiBbNi4wMSwgNS4zMiwgMy42XSwgInN3X2lkZW50IjogInB5LWNlbGVyeSIsICJzd192ZXIiOiAiNS42LjMiLCAic3dfc3lzIjogIkxpbnV4IiwgInRpbWVzdGFtcCI6IDE3OTUzODQzMDYuNDY5MzUyNSwgInR5cGUiOiAid29ya2VyLW9mZmxpbmUifQ==", "content-encoding": "utf-8", "content-type": "application/json", "headers": {"hostname": "reports@reports-5c9d-abcde"}, "properties": {"delivery_mode": 1, "delivery_info": {"exchange": "celeryev", "routing_key": "worker.offline"}, "priority": 0, "body_encoding": "base64", "delivery_tag": "21a1e8b6-c76f-48fc-b65c-5247fd691084"}}`,
} as const;

/** The channel of the heartbeat, on database 3 with the key prefix `team:`. */
export const heartbeatChannel = 'team:/3.celeryev/worker.heartbeat';

/** JSON as Python writes it: a space after each comma, nothing but ASCII. */
export function pythonJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(pythonJson).join(', ')}]`;
  return JSON.stringify(value).replace(
    /[\u0080-\uffff]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** An entry of `unacked` for a message that came by this exchange and routing key. */
export function unackedEntry(exchange: string, routingKey: string, bodyLength = 100): string {
  const message = { body: 'x'.repeat(bodyLength), headers: { task: 'a', argsrepr: '("x", "y")]' }, properties: {} };
  return pythonJson([message, exchange, routingKey]);
}

/** An event in kombu's envelope. */
export function envelope(event: unknown, encoding: 'base64' | 'none' = 'base64'): string {
  const text = JSON.stringify(event);
  return JSON.stringify({
    body: encoding === 'base64' ? Buffer.from(text).toString('base64') : text,
    'content-type': 'application/json',
    properties: encoding === 'base64' ? { body_encoding: 'base64' } : {},
  });
}
