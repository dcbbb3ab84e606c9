/* certificate.c - the hub's key and self-signed certificate: P-256, valid for as long as anybody will keep it, since its fingerprint is
 * what counts. The address stands in it because other tools, and the other hub of a cluster, compare names. */
#include "link/hub-internal.h"

#include "base/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <sys/stat.h>

enum { YEARS = 30 };

static hth_status fail_ssl(hth_error *err, const char *what)
{
	char reason[160] = "";
	unsigned long code = ERR_get_error();
	if (code != 0)
		ERR_error_string_n(code, reason, sizeof reason);
	ERR_clear_error();
	return hth_fail(err, HTH_INTERNAL, "%s: %s", what, *reason ? reason : "OpenSSL does not say why");
}

hth_status hub_write_file(const char *folder, const char *name, const void *bytes, size_t len, hth_error *err)
{
	char path[4096], temporary[4096 + 8];
	if ((size_t)snprintf(path, sizeof path, "%s/%s", folder, name) >= sizeof path)
		return hth_fail(err, HTH_INVALID, "the path of the home is too long: %s", folder);
	snprintf(temporary, sizeof temporary, "%s.new", path);
	unlink(temporary);
	HTH_AUTO_CLOSE int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return hth_fail_errno(err, HTH_IO, errno, "cannot make %s", temporary);
	errno = 0;
	if (write(fd, bytes, len) != (ssize_t)len || fsync(fd) != 0 || rename(temporary, path) != 0) {
		int e = errno ? errno : ENOSPC;
		unlink(temporary);
		return hth_fail_errno(err, HTH_IO, e, "cannot write %s", path);
	}
	HTH_AUTO_CLOSE int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dir >= 0 && fsync(dir) == 0 ? HTH_OK : hth_fail_errno(err, HTH_IO, errno, "cannot write %s durably", folder);
}

static bool add_extension(X509 *certificate, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, certificate, certificate, NULL, NULL, 0);
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	bool good = extension != NULL && X509_add_ext(certificate, extension, -1) == 1;
	X509_EXTENSION_free(extension);
	return good;
}

static X509 *make_certificate(EVP_PKEY *key, const char *host)
{
	X509 *c = X509_new();
	unsigned char serial[16], binary[16];
	char names[HTH_LINK_ADDRESS_MAX + 80];
	bool number = inet_pton(AF_INET, host, binary) == 1 || inet_pton(AF_INET6, host, binary) == 1;
	snprintf(names, sizeof names, "%s:%s", number ? "IP" : "DNS", host);
	BIGNUM *n = NULL;
	bool good = c != NULL && RAND_bytes(serial, sizeof serial) == 1 &&
	    (serial[0] &= 0x7f, (n = BN_bin2bn(serial, sizeof serial, NULL)) != NULL) &&
	            X509_set_version(c, 2) == 1 && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(c)) != NULL &&
	            X509_gmtime_adj(X509_getm_notBefore(c), -86400L) != NULL &&
	            X509_time_adj_ex(X509_getm_notAfter(c), YEARS * 365, 0, NULL) != NULL &&
	            X509_set_pubkey(c, key) == 1 &&
	            X509_NAME_add_entry_by_txt(X509_get_subject_name(c), "CN", MBSTRING_ASC, (const unsigned char *)"hearth hub", -1, -1,
	                                       0) == 1 &&
	            X509_set_issuer_name(c, X509_get_subject_name(c)) == 1 && add_extension(c, NID_basic_constraints, "critical,CA:TRUE") &&
	            add_extension(c, NID_subject_alt_name, names) && X509_sign(c, key, EVP_sha256()) > 0;
	BN_free(n);
	if (good)
		return c;
	X509_free(c);
	return NULL;
}

static hth_status write_pem(const char *folder, const char *name, EVP_PKEY *key, X509 *certificate, hth_error *err)
{
	BIO *text = BIO_new(BIO_s_secmem());
	char *data = NULL;
	hth_status status;
	if (text == NULL || (key != NULL ? PEM_write_bio_PrivateKey(text, key, NULL, NULL, 0, NULL, NULL)
	                                 : PEM_write_bio_X509(text, certificate)) != 1)
		status = fail_ssl(err, "cannot write the hub's certificate");
	else {
		long n = BIO_get_mem_data(text, &data);
		status = hub_write_file(folder, name, data, (size_t)n, err);
	}
	BIO_free(text);
	return status;
}

static hth_status take(X509 *certificate, hub_certificate *ret, hth_error *err)
{
	unsigned char *der = NULL, digest[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	int len = i2d_X509(certificate, &der);
	bool good = len > 0 && len <= HTH_HUB_CERTIFICATE_MAX && X509_digest(certificate, EVP_sha256(), digest, &n) == 1 &&
	    n == HTH_FINGERPRINT_BYTES;
	if (good) {
		memcpy(ret->der, der, (size_t)len);
		ret->len = (size_t)len;
		memcpy(ret->fingerprint, digest, n);
	}
	OPENSSL_free(der);
	return good ? HTH_OK : fail_ssl(err, "the hub's certificate is not usable");
}

/* NULL: there is none, or it is for another host, or another key's (the power went between writing the one and the other). */
static X509 *read_certificate(const char *folder, const char *host)
{
	char path[4096];
	unsigned char binary[16];
	snprintf(path, sizeof path, "%s/hub.key", folder);
	FILE *file = fopen(path, "re");
	EVP_PKEY *key = file != NULL ? PEM_read_PrivateKey(file, NULL, NULL, NULL) : NULL;
	if (file != NULL)
		fclose(file);
	snprintf(path, sizeof path, "%s/hub.crt", folder);
	file = fopen(path, "re");
	X509 *c = file != NULL ? PEM_read_X509(file, NULL, NULL, NULL) : NULL;
	if (file != NULL)
		fclose(file);
	bool number = inet_pton(AF_INET, host, binary) == 1 || inet_pton(AF_INET6, host, binary) == 1;
	if (c != NULL && (key == NULL || X509_check_private_key(c, key) != 1 ||
	                  (number ? X509_check_ip_asc(c, host, 0) : X509_check_host(c, host, 0, 0, NULL)) != 1)) {
		X509_free(c);
		c = NULL;
	}
	EVP_PKEY_free(key);
	ERR_clear_error();
	return c;
}

hth_status hub_certificate_load(hub_certificate *ret, const char *folder, const char *host, hth_error *err)
{
	if (mkdir(folder, 0700) != 0 && errno != EEXIST)
		return hth_fail_errno(err, HTH_IO, errno, "cannot make %s", folder);
	X509 *c = read_certificate(folder, host);
	hth_status status = HTH_OK;
	if (c == NULL) {
		EVP_PKEY *key = EVP_EC_gen("P-256");
		if (key != NULL)
			c = make_certificate(key, host);
		if (c == NULL)
			status = fail_ssl(err, "cannot make the hub's certificate");
		if (status == HTH_OK)
			status = write_pem(folder, "hub.key", key, NULL, err);
		if (status == HTH_OK)
			status = write_pem(folder, "hub.crt", NULL, c, err);
		EVP_PKEY_free(key);
	}
	if (status == HTH_OK)
		status = take(c, ret, err);
	X509_free(c);
	return status;
}

bool hub_certificate_pem(const unsigned char *der, size_t len, hth_buf *out)
{
	const unsigned char *at = der;
	X509 *c = d2i_X509(NULL, &at, (long)len);
	BIO *text = BIO_new(BIO_s_mem());
	char *data = NULL;
	bool good = c != NULL && at == der + len && text != NULL && PEM_write_bio_X509(text, c) == 1;
	if (good) {
		long n = BIO_get_mem_data(text, &data);
		good = n > 0 && hth_buf_append(out, data, (size_t)n);
	}
	BIO_free(text);
	X509_free(c);
	ERR_clear_error();
	return good;
}
