// The peer of bench/exchange.py: panva's oidc-provider as a token endpoint, in-memory adapter.
//
//   node server.mjs PORT CLIENT_JWK
//
// Two clients, both client_credentials for an ES256 JWT access token: `plain` with a secret, and
// `agent` with a signed assertion (private_key_jwt) and DPoP: two signatures checked, one made.
import { generateKeyPairSync } from 'node:crypto'
import Provider from 'oidc-provider'

const [port, clientKey] = process.argv.slice(2)
const issuer = `http://localhost:${port}`
const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const client = {
  grant_types: ['client_credentials'],
  redirect_uris: [],
  response_types: [],
  id_token_signed_response_alg: 'ES256',
}

const provider = new Provider(issuer, {
  jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), alg: 'ES256', use: 'sig', kid: 'bench' }] },
  clients: [
    { ...client, client_id: 'plain', client_secret: 'bench-only-secret', token_endpoint_auth_method: 'client_secret_post' },
    {
      ...client,
      client_id: 'agent',
      token_endpoint_auth_method: 'private_key_jwt',
      token_endpoint_auth_signing_alg: 'ES256',
      dpop_bound_access_tokens: true,
      jwks: { keys: [JSON.parse(clientKey)] },
    },
  ],
  clientAuthMethods: ['client_secret_post', 'private_key_jwt'],
  scopes: ['tools'],
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    dPoP: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => `${issuer}/mcp/echo`,
      getResourceServerInfo: () => ({
        scope: 'tools',
        accessTokenFormat: 'jwt',
        accessTokenTTL: 300,
        jwt: { sign: { alg: 'ES256' } },
      }),
    },
  },
})
provider.listen(Number(port), '127.0.0.1')
