// Replays one trace with one of the other engines and prints what it took, as
// JSON: node peers.mjs ENGINE TRACE.json.gz. Times are CPU milliseconds of the
// process, user and system, its collector and compiler included.
//
// Replicas are named by the trace's agents, in order: what two write at one place
// stands by their names, and only this order makes the trace's own end.
import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)
const [engine, file] = process.argv.slice(2)
const trace = JSON.parse(gunzipSync(readFileSync(file)))
const budget = 20_000 // ms of one figure, of the processor; the quick ones are done again up to 5 times

const engines = {
  yjs: async () => {
    const Y = await import('yjs')
    return {
      make: agent => { const d = new Y.Doc(); if (agent !== undefined) d.clientID = agent + 1; return { d, t: d.getText('t') } },
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
      make: agent => { const d = new LoroDoc(); if (agent !== undefined) d.setPeerId(agent + 1); return { d, t: d.getText('t') } },
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

// used is what the process has taken since another look, in ms.
function used (since) {
  const u = process.cpuUsage(since)
  return (u.user + u.system) / 1000
}

// timed is the median of a few runs of steps, or null when one takes too long.
function timed (steps) {
  const all = []
  let spent = 0
  while (all.length < 5 && (all.length === 0 || spent < budget / 5)) {
    globalThis.gc?.()
    const begin = process.cpuUsage()
    for (const _ of steps()) if (used(begin) > budget) return null
    all.push(used(begin))
    spent += all.at(-1)
  }
  all.sort((a, b) => a - b)
  return all[all.length >> 1]
}

// stepped yields now and then, so that what takes too long can be left.
function * stepped (list, one) {
  for (let i = 0; i < list.length; i++) { one(list[i]); if (i % 64 === 0) yield }
  yield
}

// Every figure that comes out ends at the trace's own end, or same is false.
const out = { engine, local: null, remote: null, load: null, bytes: 0, same: true }
const ends = r => { out.same &&= e.read(r) === trace.endContent }
const concurrent = trace.kind === 'concurrent'
if (!concurrent) {
  let typed
  out.local = timed(function * () { typed = e.make(); yield * stepped(trace.txns, t => e.edit(typed, t.patches)) })
  if (out.local !== null) ends(typed)
}

// log is one update for each transaction, made by a replica for each agent; null
// when that takes too long.
function makeLog () {
  const log = []
  const began = process.cpuUsage()
  const replicas = new Map()
  const replica = agent => {
    if (!replicas.has(agent)) {
      const r = { ...e.make(agent), have: new Set() }
      e.listen(r, u => { (log[r.now] ??= []).push(u) })
      replicas.set(agent, r)
    }
    return replicas.get(agent)
  }
  for (let i = 0; i < trace.txns.length; i++) {
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
    if (used(began) > 2 * budget) return null
  }
  return log.flat()
}

// Whoever takes too long to type does not get through typing and sending.
const log = concurrent || out.local !== null ? makeLog() : null
if (log) {
  let got
  out.remote = timed(function * () { got = e.make(); yield * stepped(log, u => e.apply(got, u)) })
  if (out.remote !== null) {
    ends(got)
    const saved = e.save(got)
    out.bytes = saved.length
    let loaded
    out.load = timed(function * () { loaded = e.load(saved); e.read(loaded); yield })
    if (out.load !== null) ends(loaded)
  }
}
console.log(JSON.stringify(out))
process.exit(0)
