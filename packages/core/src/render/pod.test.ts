import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { sample } from '../test-support.ts'
import { pod } from './pod.ts'
import type { GivenParam } from './settings.ts'

interface Variable {
  readonly name: string
  readonly value?: string
  readonly valueFrom?: unknown
}

interface Pod {
  readonly spec: {
    readonly terminationGracePeriodSeconds: number
    readonly initContainers: readonly [{ readonly env: readonly Variable[]; readonly [key: string]: unknown }]
    readonly [key: string]: unknown
  }
}

const spec = (given: readonly GivenParam[] = []) => (parse(pod(sample, given)) as Pod).spec
const sidecar = (given: readonly GivenParam[] = []) => spec(given).initContainers[0]
const flag = (name: string, shown: string): GivenParam => ({ name, shown, source: 'flag' })

/** What the kubelet makes of a value (k8s.io/kubernetes/third_party/forked/golang/expansion). */
function expanded(value: string): string {
  return value.replace(/\$(\$|\([^)]*\)|)/gs, (whole, next: string) => {
    if (next === '$') return '$'
    return next === '' ? whole : '<expanded>'
  })
}

it('is the snippet that is committed', async () => {
  await expect(pod(sample)).toMatchFileSnapshot('snapshots/pod.yaml')
})

describe('the container', () => {
  it('is a native sidecar', () => {
    expect(sidecar()).toMatchObject({
      name: 'adapter-sample',
      image: 'outrider/adapter-sample',
      restartPolicy: 'Always',
    })
  })

  it('is as tight as the contract says', () => {
    expect(sidecar()['securityContext']).toEqual({
      runAsNonRoot: true,
      runAsUser: 65532,
      runAsGroup: 65532,
      readOnlyRootFilesystem: true,
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'] },
      seccompProfile: { type: 'RuntimeDefault' },
    })
  })

  it('is asked by the kubelet whether it is ready and alive', () => {
    expect(sidecar()).toMatchObject({
      startupProbe: { httpGet: { path: '/readyz', port: 9199 } },
      readinessProbe: { httpGet: { path: '/readyz', port: 9199 } },
      livenessProbe: { httpGet: { path: '/healthz', port: 9199 } },
    })
  })

  it('is asked by its own probe where the kubelet cannot reach it', () => {
    expect(sidecar([flag('admin', 'unix:/run/admin.sock')])).toMatchObject({
      readinessProbe: { exec: { command: ['/usr/bin/node', '/app/main.js', '--probe', 'ready'] } },
      livenessProbe: { exec: { command: ['/usr/bin/node', '/app/main.js', '--probe', 'live'] } },
      ports: [{ name: 'lines', containerPort: 8443 }],
    })
  })

  it('has no ports where all are Unix sockets', () => {
    const given = [flag('admin', 'unix:/run/admin.sock'), flag('listen', 'unix:/run/lines.sock')]
    expect(sidecar(given)).not.toHaveProperty('ports')
  })

  it('sets what is required, and a secret from a Secret', () => {
    expect(sidecar().env).toEqual([
      { name: 'ADAPTER_SAMPLE_TARGET', value: 'http://127.0.0.1:8080' },
      { name: 'ADAPTER_SAMPLE_NOTE', value: `it's $$5 & $$(X): "yes" #1` },
      {
        name: 'ADAPTER_SAMPLE_PASSWORD',
        valueFrom: { secretKeyRef: { name: 'adapter-sample', key: 'adapter_sample_password' } },
      },
    ])
  })

  it('is passed a value as it is, whatever it holds', () => {
    const near = fc.string({ unit: fc.constantFrom(...'ab$$$()(){}:#"\'\\ \n') })
    fc.assert(
      fc.property(fc.oneof(near, fc.string({ unit: 'binary' })), (value) => {
        const { env } = sidecar([flag('note', value)])
        expect(expanded(env.find(({ name }) => name === 'ADAPTER_SAMPLE_NOTE')?.value ?? '')).toBe(value)
      }),
      { numRuns: 500 },
    )
  })

  it('never shows a secret that was given', () => {
    expect(pod(sample, [flag('token', '[redacted]')])).not.toContain('[redacted]')
  })

  it.each([
    ['10s', 30],
    ['2m', 125],
  ])('with a drain of %s may take %i s to end, so that the drain is not cut short', (drain, grace) => {
    expect(spec([flag('drain', drain)]).terminationGracePeriodSeconds).toBe(grace)
  })
})

it('every volume that is mounted is declared, under a name that Kubernetes takes', () => {
  const names = (list: unknown) => (list as { name: string }[]).map(({ name }) => name)
  expect(names(sidecar()['volumeMounts'])).toEqual(names(spec()['volumes']))
  for (const name of names(spec()['volumes'])) expect(name).toMatch(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/)
})
