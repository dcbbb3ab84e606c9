/* tls.c - TLS to whoever has the certificate with the fingerprint that is expected. No authority is asked, no name compared, no date looked
 * at: the fingerprint came from the neighbourhood itself (an invitation, a sealed letter), and says more than all of them. */
#include "link/link-internal.h"

#include "base/mem.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509.h>

struct link_tls {
	SSL_CTX *context;
	SSL *ssl;
	unsigned char fingerprint[HTH_FINGERPRINT_BYTES];
	bool stranger; /* another certificate was shown */
};

static int check_certificate(X509_STORE_CTX *store, void *arg)
{
	link_tls *t = arg;
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	X509 *shown = X509_STORE_CTX_get0_cert(store);
	if (shown != NULL && X509_digest(shown, EVP_sha256(), digest, &n) == 1 && n == HTH_FINGERPRINT_BYTES &&
	    CRYPTO_memcmp(digest, t->fingerprint, n) == 0)
		return 1;
	t->stranger = true;
	X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_UNTRUSTED);
	return 0;
}

static hth_status fail_tls(hth_error *err, const char *what)
{
	char reason[160] = "";
	unsigned long code = ERR_get_error();
	if (code != 0)
		ERR_error_string_n(code, reason, sizeof reason);
	ERR_clear_error();
	return hth_fail(err, HTH_IO, "%s%s%s", what, *reason ? ": " : "", reason);
}

hth_status link_tls_open(link_tls **ret_tls, int fd, const unsigned char fingerprint[HTH_FINGERPRINT_BYTES], hth_error *err)
{
	link_tls *t = calloc(1, sizeof *t);
	if (t == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a connection");
	memcpy(t->fingerprint, fingerprint, sizeof t->fingerprint);
	t->context = SSL_CTX_new(TLS_client_method());
	if (t->context != NULL && SSL_CTX_set_min_proto_version(t->context, TLS1_2_VERSION) == 1) {
		SSL_CTX_set_verify(t->context, SSL_VERIFY_PEER, NULL);
		SSL_CTX_set_cert_verify_callback(t->context, check_certificate, t);
		SSL_CTX_set_mode(t->context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
		                 SSL_MODE_RELEASE_BUFFERS);
		SSL_CTX_set_session_cache_mode(t->context, SSL_SESS_CACHE_OFF);
		/* letters have their own ends */
		SSL_CTX_set_options(t->context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_IGNORE_UNEXPECTED_EOF);
		t->ssl = SSL_new(t->context);
	}
	if (t->ssl == NULL || SSL_set_fd(t->ssl, fd) != 1) {
		link_tls_close(t);
		return fail_tls(err, "cannot start TLS");
	}
	SSL_set_connect_state(t->ssl);
	*ret_tls = t;
	return HTH_OK;
}

void link_tls_close(link_tls *t)
{
	if (t == NULL)
		return;
	if (t->ssl != NULL && SSL_is_init_finished(t->ssl))
		(void)SSL_shutdown(t->ssl); /* says good-bye if there is room for it; nobody waits for an answer */
	ERR_clear_error();
	SSL_free(t->ssl);
	SSL_CTX_free(t->context);
	free(t);
}

static link_io what_now(link_tls *t, int rc, const char *what, hth_error *err)
{
	int e = errno, code = SSL_get_error(t->ssl, rc);
	if (code == SSL_ERROR_WANT_READ)
		return LINK_IO_READ;
	if (code == SSL_ERROR_WANT_WRITE)
		return LINK_IO_WRITE;
	if (t->stranger)
		hth_fail(err, HTH_UNAUTHORIZED, "it shows another certificate than this neighbourhood's hub has: somebody is in between, "
		                                "or its home made a new one");
	else if (code == SSL_ERROR_ZERO_RETURN || (code == SSL_ERROR_SYSCALL && e == 0))
		hth_fail(err, HTH_GONE, "the hub closed the connection");
	else if (code == SSL_ERROR_SYSCALL)
		hth_fail_errno(err, HTH_IO, e, "%s", what);
	else
		fail_tls(err, what);
	ERR_clear_error();
	return LINK_IO_ENDED;
}

link_io link_tls_handshake(link_tls *t, hth_error *err)
{
	ERR_clear_error();
	errno = 0;
	int rc = SSL_do_handshake(t->ssl);
	return rc == 1 ? LINK_IO_DONE : what_now(t, rc, "TLS with the hub failed", err);
}

link_io link_tls_read(link_tls *t, void *to, size_t size, size_t *ret_n, hth_error *err)
{
	ERR_clear_error();
	errno = 0;
	int rc = SSL_read_ex(t->ssl, to, size, ret_n);
	return rc == 1 ? LINK_IO_DONE : what_now(t, rc, "reading from the hub failed", err);
}

link_io link_tls_write(link_tls *t, const void *from, size_t n, size_t *ret_n, hth_error *err)
{
	ERR_clear_error();
	errno = 0;
	int rc = SSL_write_ex(t->ssl, from, n, ret_n);
	return rc == 1 ? LINK_IO_DONE : what_now(t, rc, "writing to the hub failed", err);
}
