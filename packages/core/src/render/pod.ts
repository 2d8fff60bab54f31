import type { Container } from '../container.ts'
import { type ProbeKind, probePaths } from '../probe.ts'
import { version } from '../version.ts'
import {
  drainOf,
  entryPoint,
  type GivenParam,
  imageOf,
  kindNames,
  type Mount,
  mountsOf,
  portsOf,
  settingsOf,
  unmountedOf,
  unsetSecretsOf,
  valuesOf,
  yamlText,
} from './settings.ts'

/**
 * A Kubernetes pod with the container as native sidecar (KEP-753): it starts before and ends after the application. One
 * that ends by itself is an init container, which has no probes.
 */
export function pod(container: Container, given: readonly GivenParam[] = []): string {
  const volumes = mountsOf(container, given)
  const shared = volumes.filter(({ from }) => from === 'shared')
  const drain = drainOf(container, given)
  const lines = [
    'apiVersion: v1',
    'kind: Pod',
    'metadata:',
    `  name: my-app-with-${container.name}`,
    'spec:',
    `  # One budget for all: the application ends first, and should leave more of it than the drain of ${drain.shown}.`,
    `  terminationGracePeriodSeconds: ${Math.max(30, drain.seconds + 5)}`,
    '  securityContext:',
    `    # Lets the container read mounted Secrets${shared.length > 0 ? ', and write what it shares' : ''}.`,
    '    fsGroup: 65532',
    '  initContainers:',
    ...nativeSidecar(container, given).map((line) => `    ${line}`),
    '  containers:',
    '    - name: app',
    '      image: my-app',
    ...(shared.length > 0 ? ['      volumeMounts:'] : []),
    ...shared.map((mount) => `        - ${mounted(mount, true)}`),
    ...(volumes.length > 0 ? ['  volumes:'] : []),
    ...volumes.flatMap(volume).map((line) => `    ${line}`),
  ]
  return `${lines.join('\n')}\n`

  function nativeSidecar(of: Container, params: readonly GivenParam[]): string[] {
    // The kubelet asks from outside, at the address of the pod.
    const ports = portsOf(of, params).filter(({ isLoopback }) => !isLoopback)
    const admin = ports.find(({ name }) => name === 'admin')?.port
    const probe = (kind: ProbeKind) =>
      admin === undefined
        ? [
            `    exec: { command: [${[...entryPoint, '--probe', kind].join(', ')}] }`,
            // That starts a program each time; by default it would have one second.
            '    timeoutSeconds: 3',
          ]
        : [`    httpGet: { path: ${probePaths[kind]}, port: ${admin} }`]
    const reached = (readyWithin: number) => [
      ...(ports.length > 0 ? ['  ports:'] : []),
      ...ports.map(({ name, port }) => `    - { name: ${name}, containerPort: ${port} }`),
      '  startupProbe:',
      ...probe('ready'),
      '    periodSeconds: 1',
      `    failureThreshold: ${Math.ceil(readyWithin)}`,
      '  readinessProbe:',
      ...probe('ready'),
      '    periodSeconds: 5',
      '  livenessProbe:',
      ...probe('live'),
      '    periodSeconds: 10',
    ]
    const { readyWithin = DEFAULT_READY_SECONDS, endsByItself = false } = of.needs(valuesOf(of, params))
    return [
      `- name: ${of.name}`,
      `  # With your registry and a tag, such as registry.example.com/${imageOf(of)}:${version}.`,
      `  image: ${imageOf(of)}`,
      '  imagePullPolicy: IfNotPresent',
      ...(endsByItself
        ? ['  # Ends by itself, and the application starts then.']
        : [
            '  # Native sidecar, Kubernetes 1.29 and later; before that, move this entry to containers without this line.',
            '  restartPolicy: Always',
          ]),
      ...env(of, params),
      ...(endsByItself ? [] : reached(readyWithin)),
      '  resources:',
      '    requests: { cpu: 10m, memory: 64Mi }',
      ...memory(of, params),
      '  securityContext:',
      '    runAsNonRoot: true',
      '    runAsUser: 65532',
      '    runAsGroup: 65532',
      '    readOnlyRootFilesystem: true',
      '    allowPrivilegeEscalation: false',
      '    capabilities: { drop: [ALL] }',
      '    seccompProfile: { type: RuntimeDefault }',
      ...(volumes.length > 0 ? ['  volumeMounts:'] : []),
      ...volumes.map((mount) => `    - ${mounted(mount, mount.from !== 'shared')}`),
    ]
  }
}

const DEFAULT_READY_SECONDS = 60
const DEFAULT_MEMORY = 256

function memory(container: Container, given: readonly GivenParam[]): string[] {
  const { memory: needed = DEFAULT_MEMORY } = container.needs(valuesOf(container, given))
  if (!Number.isFinite(needed)) {
    return [
      '    # The parameters set no bound for what it may take: measure it, and put that here.',
      `    limits: { memory: ${DEFAULT_MEMORY}Mi }`,
    ]
  }
  const size = Math.max(DEFAULT_MEMORY, Math.ceil(needed / 64) * 64)
  return [
    ...(size > DEFAULT_MEMORY ? ['    # About what these parameters let it take.'] : []),
    `    limits: { memory: ${size}Mi }`,
  ]
}

function volume({ name, help, isVolume, from }: Mount): readonly string[] {
  const entry = [`# ${help}`, `- name: ${name}`]
  if (from === 'shared') return [...entry, '  emptyDir: {}']
  const waits = `# The pod waits until this ${kindNames[from]} is there${isVolume ? '; to start without it, add optional: true' : ''}.`
  return [
    ...entry.toSpliced(1, 0, waits),
    ...(from === 'secret' ? ['  secret:', `    secretName: ${name}`] : ['  configMap:', `    name: ${name}`]),
  ]
}

const mounted = ({ name, directory }: Mount, readOnly: boolean): string =>
  `{ name: ${name}, mountPath: ${yamlText(directory)}${readOnly ? ', readOnly: true' : ''} }`

function env(container: Container, given: readonly GivenParam[]): string[] {
  const settings = settingsOf(container, given)
  const unmounted = unmountedOf(container, given)
  const unset = unsetSecretsOf(container, given).flatMap((variable) => [
    `    # - name: ${variable}`,
    `    #   ${fromSecret(container, variable)}`,
  ])
  if (settings.length === 0 && unset.length === 0) return []
  const entries = settings.flatMap(({ variable, value, secret }) => [
    ...(unmounted.has(variable) ? ['    # Nothing here mounts this path.'] : []),
    `    - name: ${variable}`,
    secret
      ? `      ${fromSecret(container, variable)}`
      : // Kubernetes would expand $(NAME), and makes one dollar sign of two.
        `      value: ${yamlText(value.replaceAll('$', '$$$$'))}`,
  ])
  return [
    settings.length > 0 ? '  env:' : '  # env:',
    ...entries,
    ...(unset.length > 0 ? ['    # A secret, where it is needed:', ...unset] : []),
  ]
}

const fromSecret = (container: Container, variable: string): string =>
  `valueFrom: { secretKeyRef: { name: ${container.name}, key: ${variable.toLowerCase()} } }`
