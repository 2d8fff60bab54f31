import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { sample, sharing } from '../test-support.ts'
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
    readonly containers: unknown
    readonly initContainers: readonly [{ readonly env: readonly Variable[]; readonly [key: string]: unknown }]
    readonly [key: string]: unknown
  }
}

const spec = (given: readonly GivenParam[] = []) => (parse(pod(sample, given)) as Pod).spec
const sidecar = (given: readonly GivenParam[] = []) => spec(given).initContainers[0]
const sharingSpec = (given: readonly GivenParam[] = []) => (parse(pod(sharing, given)) as Pod).spec
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

  it.each(['127.0.0.1:9199', '[::1]:9199', 'localhost:9199'])(
    'is asked by its own probe on %s, which the kubelet cannot reach from outside of the pod',
    (admin) => {
      const probe = (kind: string) => ({
        exec: { command: ['/usr/bin/node', '/app/main.js', '--probe', kind] },
        timeoutSeconds: 3,
      })
      expect(sidecar([flag('admin', admin)])).toMatchObject({
        startupProbe: probe('ready'),
        readinessProbe: probe('ready'),
        livenessProbe: probe('live'),
        ports: [{ name: 'lines', containerPort: 8443 }],
      })
      expect(sidecar([flag('admin', admin)]).env).toContainEqual({
        name: 'ADAPTER_SAMPLE_ADMIN',
        value: admin,
      })
    },
  )

  it.each([
    ['64KiB', '256Mi'],
    ['300KiB', '320Mi'],
    ['2000KiB', '2048Mi'],
  ])('may take the memory that its parameters let it take: with %s it is %s', (limit, memory) => {
    expect(sidecar([flag('limit', limit)])['resources']).toMatchObject({ limits: { memory } })
  })

  it.each([
    ['90s', 90],
    ['2m500ms', 121],
  ])(
    'may take the time until it is ready that its parameters let it take: with %s %i s',
    (patience, tries) => {
      expect(sharingSpec([flag('patience', patience)]).initContainers[0]).toMatchObject({
        startupProbe: { periodSeconds: 1, failureThreshold: tries },
      })
      expect(sidecar()).toMatchObject({ startupProbe: { periodSeconds: 1, failureThreshold: 60 } })
    },
  )

  it('says so when its parameters set no bound for its memory', () => {
    const endless = { ...sample, needs: () => ({ memory: Number.POSITIVE_INFINITY }) }
    expect(pod(endless)).toContain('# The parameters set no bound for what it may take')
    expect(pod(sample)).not.toContain('set no bound')
  })

  it('has the image of a registry of yours said beside its own', () => {
    expect(pod(sample)).toMatch(
      /# With your registry and a tag, such as [a-z.]+\/outrider\/adapter-sample:\d/,
    )
  })

  it('has a place for each secret that is not set', () => {
    expect(pod(sample)).toContain('# - name: ADAPTER_SAMPLE_TOKEN\n')
    expect(pod(sample, [flag('token', '[redacted]')])).not.toContain('# - name: ADAPTER_SAMPLE_TOKEN')
  })

  it('has the directory of each file that was given mounted from a Secret', () => {
    const given = [flag('rules', '/my/rules.yaml')]
    expect(sidecar(given)['volumeMounts']).toContainEqual({
      name: 'adapter-sample-my',
      mountPath: '/my',
      readOnly: true,
    })
    expect(spec(given)['volumes']).toContainEqual({
      name: 'adapter-sample-my',
      secret: { secretName: 'adapter-sample-my' },
    })
  })

  it('has it said beside a path that nothing mounts', () => {
    expect(pod(sample, [flag('rules', 'rules.yaml')])).toContain(
      '# Nothing here mounts this path.\n        - name: ADAPTER_SAMPLE_RULES',
    )
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

it('a volume is from a Secret or a ConfigMap, as the definition says', () => {
  expect(spec()['volumes']).toEqual([
    { name: 'adapter-sample-tls', secret: { secretName: 'adapter-sample-tls' } },
    { name: 'adapter-sample-etcrulesd', configMap: { name: 'adapter-sample-etcrulesd' } },
  ])
  expect(pod(sample, [flag('rules', '/etc/rules.d/deep/rules.yaml')])).toContain(
    '# Holds the rules. Holds deep/rules.yaml (ADAPTER_SAMPLE_RULES). A ConfigMap has what is in a folder by items',
  )
})

describe('what the container shares', () => {
  it('is a directory that is empty at first, in which it writes and the application reads', () => {
    const { initContainers, containers, volumes } = sharingSpec()
    expect(initContainers[0]['volumeMounts']).toEqual([{ name: 'sidecar-pages-pages', mountPath: '/pages' }])
    expect(containers).toEqual([
      {
        name: 'app',
        image: 'my-app',
        volumeMounts: [{ name: 'sidecar-pages-pages', mountPath: '/pages', readOnly: true }],
      },
    ])
    expect(volumes).toEqual([{ name: 'sidecar-pages-pages', emptyDir: {} }])
  })

  it('is writable through the group of the pod', () => {
    expect(sharingSpec()['securityContext']).toEqual({ fsGroup: 65532 })
    expect(pod(sharing)).toContain('# Lets the container read mounted Secrets, and write what it shares.\n')
  })

  it('is also the directory of what it was told to write, beside Secrets that it reads', () => {
    const { initContainers, containers, volumes } = sharingSpec([
      flag('report', '/out/report.json'),
      flag('source', '/in/source'),
    ])
    expect(initContainers[0]['volumeMounts']).toEqual([
      { name: 'sidecar-pages-pages', mountPath: '/pages' },
      { name: 'sidecar-pages-in', mountPath: '/in', readOnly: true },
      { name: 'sidecar-pages-out', mountPath: '/out' },
    ])
    expect(containers).toMatchObject([
      { volumeMounts: [{ name: 'sidecar-pages-pages' }, { name: 'sidecar-pages-out', readOnly: true }] },
    ])
    expect(volumes).toContainEqual({ name: 'sidecar-pages-out', emptyDir: {} })
  })

  it('is nothing where nothing is shared', () => {
    expect(spec().containers).toEqual([{ name: 'app', image: 'my-app' }])
  })
})

it('a Secret that is missing, or misspelt, is waited for', () => {
  expect(pod(sample)).not.toMatch(/^ *optional/m)
  for (const kind of ['Secret', 'ConfigMap'])
    expect(pod(sample)).toContain(
      `# The pod waits until this ${kind} is there; to start without it, add optional: true.`,
    )
  const [, given = ''] = pod(sample, [flag('rules', '/my/rules.yaml')]).split('# Holds rules.yaml')
  expect(given).toContain('# The pod waits until this Secret is there.\n')
})

it.each([
  ['/a-b/x', '/ab'],
  ['/é/x', '/ü'],
  [`/${'x'.repeat(80)}1/x`, `/${'x'.repeat(80)}2`],
])('volumes of the directories of %s and %s have names of their own', (rules, parts) => {
  const names = (spec([flag('rules', rules), flag('parts', parts)])['volumes'] as { name: string }[]).map(
    ({ name }) => name,
  )
  expect(new Set(names).size).toBe(4)
  for (const name of names) expect(name).toMatch(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/)
})

it('every volume that is mounted is declared, under a name that Kubernetes takes', () => {
  const names = (list: unknown) => (list as { name: string }[]).map(({ name }) => name)
  expect(names(sidecar()['volumeMounts'])).toEqual(names(spec()['volumes']))
  for (const name of names(spec()['volumes'])) expect(name).toMatch(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/)
})

it('one that ends by itself is an init container without probes and ports', () => {
  const once = { ...sample, needs: () => ({ endsByItself: true }) }
  const [container] = (parse(pod(once)) as Pod).spec.initContainers
  expect(Object.keys(container)).not.toEqual(
    expect.arrayContaining([expect.stringMatching(/^(restartPolicy|ports|.*Probe)$/)]),
  )
})
