/* What certificates may do, and how often clients may subscribe: see policies.c. */
#ifndef POLICIES_H
#define POLICIES_H

#include <stdbool.h>

/* Who asks: a connection as the region's TLS endpoint describes it, see parse_user. */
struct principal {
	const char *client_id;
	char certificate[129];
	/* The will's topic, or NULL. */
	const char *will_topic;
	bool will_retained;
	bool persistent;
};

/* Takes apart the user name that the TLS endpoint gives a connection; false where it is none of its. */
bool parse_user(struct principal *principal, const char *client_id, const char *user);

/* Takes a file in again where it has changed. */
void policies_refresh(const char *path);

/* Says whether the certificate's policies allow an action, a letter of device_policies.py, on TYPE/NAME. */
bool policies_allow(const struct principal *principal, char action, const char *type, const char *name);

/* Counts a subscription, and says whether there may be one: the account's quota is in the file. */
bool quota_allows_subscription(const char *path);

#endif
