import { expect, test } from 'vitest'
import { secretsInGitConfig, shownGitConfig } from './git-config-secrets.ts'

test('a header that is sent is secret, and so is the token in it', () => {
  const text = '"http.https://git.example/.extraHeader":"Authorization: Basic aHVudGVyMg==",core.abbrev:12'
  expect(secretsInGitConfig(text)).toEqual([
    'Authorization: Basic aHVudGVyMg==',
    'Basic aHVudGVyMg==',
    'aHVudGVyMg==',
  ])
  expect(shownGitConfig(text)).toBe('"http.https://git.example/.extraHeader":***,core.abbrev:12')
})

test('credentials in a URL are secret, in a key as in a value', () => {
  const text =
    '"url.https://me:hunter2@a.example/.insteadOf":"https://a.example/",http.proxy:http://you:hunter3@p:1'
  expect(secretsInGitConfig(text)).toEqual(['me:hunter2', 'hunter2', 'you:hunter3', 'hunter3'])
  expect(shownGitConfig(text)).toBe(
    '"url.https://***@a.example/.insteadOf":"https://a.example/",http.proxy:"http://***@p:1"',
  )
})

test('a credential helper that is a script is secret, and the name of one is not', () => {
  const script = '!f() { echo password=hunter2; }; f'
  const text = `credential.helper:"${script}","credential.https://a.example.helper":store`
  expect(secretsInGitConfig(text)).toEqual([script])
  expect(shownGitConfig(text)).toBe('credential.helper:***,"credential.https://a.example.helper":store')
})

test('credentials in a key that should have been in quotes are secret', () => {
  const text = 'url.https://me:hunter2@a.example/.insteadOf:b'
  expect(secretsInGitConfig(text)).toEqual(['me:hunter2', 'hunter2'])
  expect(shownGitConfig(text)).not.toContain('hunter2')
})

test('what cannot be read is secret as a whole', () => {
  expect(secretsInGitConfig('hunter2')).toEqual(['hunter2'])
  expect(shownGitConfig('hunter2')).toBe('***')
})

test('nothing holds no secret', () => {
  expect(secretsInGitConfig('')).toEqual([])
  expect(shownGitConfig('')).toBe('')
})

test('what is shown can be given again', () => {
  const text = String.raw`a.b:"1\n\t\"\,\\",c.d:""`
  expect(shownGitConfig(text)).toBe(String.raw`a.b:"1\n\t\",\\",c.d:""`)
})
