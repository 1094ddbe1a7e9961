// Replays one trace with one of the other engines and prints what it took, as
// JSON: node peers.mjs ENGINE TRACE.json.gz. Times are CPU milliseconds of the
// process, user and system, its collector and compiler included.
import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)
const [engine, file] = process.argv.slice(2)
const trace = JSON.parse(gunzipSync(readFileSync(file)))
const budget = 20_000 // ms for one figure; the quick ones are done again up to 5 times

const engines = {
  yjs: async () => {
    const Y = await import('yjs')
    return {
      make: () => { const d = new Y.Doc(); return { d, t: d.getText('t') } },
      edit: (r, patches) => r.d.transact(() => {
        for (const [pos, del, ins] of patches) { if (del) r.t.delete(pos, del); if (ins) r.t.insert(pos, ins) }
      }),
      listen: (r, out) => r.d.on('update', (u, origin) => { if (origin !== 'remote') out(u) }),
      flush: () => {},
      apply: (r, u) => Y.applyUpdate(r.d, u, 'remote'),
      save: r => Y.encodeStateAsUpdate(r.d),
      load: b => { const d = new Y.Doc(); Y.applyUpdate(d, b); return { d, t: d.getText('t') } },
      read: r => r.t.toString(),
    }
  },
  automerge: async () => {
    const A = await import('@automerge/automerge')
    const base = A.from({ t: '' }, { actor: '00' })
    return {
      make: () => ({ d: A.clone(base) }),
      edit: (r, patches) => { r.d = A.change(r.d, d => { for (const [pos, del, ins] of patches) A.splice(d, ['t'], pos, del, ins) }) },
      listen: (r, out) => { r.out = out },
      flush: r => { if (r.out) r.out(A.getLastLocalChange(r.d)) },
      apply: (r, u) => { [r.d] = A.applyChanges(r.d, [u]) },
      save: r => A.save(r.d),
      load: b => ({ d: A.load(b) }),
      read: r => r.d.t.toString(),
    }
  },
  loro: async () => {
    const { LoroDoc } = await import('loro-crdt')
    return {
      make: () => { const d = new LoroDoc(); return { d, t: d.getText('t') } },
      edit: (r, patches) => { for (const [pos, del, ins] of patches) { if (del) r.t.delete(pos, del); if (ins) r.t.insert(pos, ins) } r.d.commit() },
      listen: (r, out) => { r.out = out; r.at = r.d.oplogVersion() },
      flush: r => { if (r.out) { r.out(r.d.export({ mode: 'update', from: r.at })); r.at = r.d.oplogVersion() } },
      apply: (r, u) => { r.d.import(u); if (r.at) r.at = r.d.oplogVersion() },
      save: r => r.d.export({ mode: 'snapshot' }),
      load: b => { const d = new LoroDoc(); d.import(b); return { d, t: d.getText('t') } },
      read: r => r.t.toString(),
    }
  },
  'diamond-types': async () => {
    const { Doc } = require('diamond-types-node')
    let n = 0
    return {
      make: () => ({ d: new Doc('agent' + n++) }),
      edit: (r, patches) => { for (const [pos, del, ins] of patches) { if (del) r.d.del(pos, del); if (ins) r.d.ins(pos, ins) } },
      listen: (r, out) => { r.out = out; r.at = r.d.getLocalVersion() },
      flush: r => { if (r.out) { r.out(r.d.getPatchSince(r.at)); r.at = r.d.getLocalVersion() } },
      apply: (r, u) => { r.d.mergeBytes(u); if (r.at) r.at = r.d.getLocalVersion() },
      save: r => r.d.toBytes(),
      load: b => ({ d: Doc.fromBytes(b) }),
      read: r => r.d.get(),
    }
  },
}

const e = await engines[engine]()

// timed is the median of a few runs of steps, or null when one takes too long.
function timed (steps) {
  const all = []
  let spent = 0
  while (all.length < 5 && (all.length === 0 || spent < budget / 5)) {
    globalThis.gc?.()
    const wall = Date.now()
    const begin = process.cpuUsage()
    for (const _ of steps()) if (Date.now() - wall > budget) return null
    const used = process.cpuUsage(begin)
    all.push((used.user + used.system) / 1000)
    spent += Date.now() - wall
  }
  all.sort((a, b) => a - b)
  return all[all.length >> 1]
}

// steps yields now and then, so that what takes too long can be left.
function * stepped (list, one) {
  for (let i = 0; i < list.length; i++) { one(list[i]); if (i % 256 === 0) yield }
  yield
}

const out = { engine, trace: file }
const end = r => e.read(r) === trace.endContent
const concurrent = trace.kind === 'concurrent'
if (!concurrent) {
  let last
  out.local = timed(function * () { last = e.make(); yield * stepped(trace.txns, t => e.edit(last, t.patches)) })
  out.same = out.local === null || end(last)
}

// The log: one update for each transaction, made by a replica for each agent.
const log = []
const began = Date.now()
const replicas = new Map()
const replica = agent => {
  if (!replicas.has(agent)) {
    const r = { ...e.make(), have: new Set() }
    e.listen(r, u => { (log[r.now] ??= []).push(u) })
    replicas.set(agent, r)
  }
  return replicas.get(agent)
}
let whole = true
for (let i = 0; i < trace.txns.length && whole; i++) {
  const t = trace.txns[i]
  const r = replica(t.agent ?? 0)
  if (concurrent) {
    const lacks = []
    const look = [...t.parents]
    while (look.length) {
      const k = look.pop()
      if (r.have.has(k)) continue
      r.have.add(k)
      lacks.push(k)
      look.push(...trace.txns[k].parents)
    }
    lacks.sort((a, b) => a - b)
    for (const k of lacks) for (const u of log[k]) e.apply(r, u)
    r.have.add(i)
  }
  r.now = i
  e.edit(r, t.patches)
  e.flush(r)
  whole = Date.now() - began < 3 * budget
}
if (whole) {
  const updates = log.flat()
  let got
  out.remote = timed(function * () { got = e.make(); yield * stepped(updates, u => e.apply(got, u)) })
  if (out.remote !== null) out.same = (out.same ?? true) && end(got)
  const from = out.remote !== null ? got : replicas.values().next().value
  const saved = e.save(from)
  out.bytes = saved.length
  let loaded
  out.load = timed(function * () { loaded = e.load(saved); e.read(loaded); yield })
  out.same = (out.same ?? true) && e.read(loaded) === e.read(from)
}
console.log(JSON.stringify(out))
process.exit(0)
