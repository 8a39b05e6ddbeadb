/*
 * What AWS IoT Core's broker does beside MQTT: DeleteConnection, and the policies of devices.
 *
 * DeleteConnection: whoever connects as the user DeleteConnection publishes to the topic below: "1" where the client's
 * will is to be published and "0" where not, and the client ID behind it. An MQTT 5 client gets a DISCONNECT with
 * "administrative action" (0x98), an MQTT 3.1.1 client an orderly close. The PUBACK comes when the client is cut off.
 *
 * Policies, where the option `policies` names their file: each CONNECT, PUBLISH, SUBSCRIBE and message that goes out is
 * asked about (AWS IoT developer guide, "AWS IoT Core policy actions"). A user name is the TLS endpoint's word for who
 * connects, and none of the client's. The option `quotas` names the file of the account's quotas.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <mosquitto.h>
#include <mosquitto_broker.h>
#include <mosquitto_plugin.h>

#include "policies.h"

#define TOPIC "$CONTROL/delete-connection/v1"
#define USER "DeleteConnection"
#define CONNECT_FAILED "$aws/events/presence/connect_failed/"
/* MQTT: no client ID is longer. */
#define LONGEST 65535

static mosquitto_plugin_id_t *plugin;
static const char *policies, *quotas;

static bool is_own(const struct mosquitto *client)
{
	const char *user = mosquitto_client_username(client);

	return user && !strcmp(user, USER);
}

static int on_control(int event, void *data, void *unused)
{
	static char client_id[LONGEST + 1];
	struct mosquitto_evt_control *control = data;
	const char *request = control->payload;
	size_t length;

	if(!is_own(control->client) || control->payloadlen < 2 || control->payloadlen > LONGEST) return MOSQ_ERR_INVAL;
	length = control->payloadlen - 1;
	memcpy(client_id, request + 1, length);
	client_id[length] = '\0';
	mosquitto_kick_client_by_clientid(client_id, request[0] == '1');
	return MOSQ_ERR_SUCCESS;
}

/* AWS IoT developer guide, "Lifecycle events": clients whose ID has # or + get none. The address is not known here. */
static void tell_failure(const struct principal *principal)
{
	static char topic[sizeof(CONNECT_FAILED) + LONGEST], escaped[6 * LONGEST + 1], message[sizeof(escaped) + 512];
	struct timespec now;
	const char *from;
	char *to = escaped;

	if(strpbrk(principal->client_id, "#+")) return;
	for(from = principal->client_id; *from; from++){
		to += sprintf(to, *from == '"' || *from == '\\' ? "\\%c" : (unsigned char)*from < ' ' ? "\\u%04x" : "%c", *from);
	}
	*to = '\0';
	clock_gettime(CLOCK_REALTIME, &now);
	sprintf(topic, CONNECT_FAILED "%s", principal->client_id);
	sprintf(message, "{\"clientId\": \"%s\", \"timestamp\": %lld, \"eventType\": \"connect_failed\", "
			"\"connectFailureReason\": \"AUTHORIZATION_FAILED\", \"principalIdentifier\": \"%s\"}",
			escaped, (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000, principal->certificate);
	mosquitto_broker_publish_copy(NULL, topic, strlen(message), message, 0, false, NULL);
}

static bool may_connect(const struct principal *principal)
{
	if(!policies_allow(principal, 'C', "client", principal->client_id)) return false;
	if(!principal->will_topic) return true;
	return policies_allow(principal, 'P', "topic", principal->will_topic)
		&& (!principal->will_retained || policies_allow(principal, 'T', "topic", principal->will_topic));
}

static int on_connect(int event, void *data, void *unused)
{
	struct mosquitto_evt_basic_auth *asked = data;
	struct principal principal;

	if(is_own(asked->client)) return MOSQ_ERR_SUCCESS;
	policies_refresh(policies);
	if(!parse_user(&principal, mosquitto_client_id(asked->client), asked->username)) return MOSQ_ERR_AUTH;
	if(may_connect(&principal)) return MOSQ_ERR_SUCCESS;
	mosquitto_log_printf(MOSQ_LOG_NOTICE, "Denied CONNECT of %s with certificate %s.", principal.client_id,
			principal.certificate);
	tell_failure(&principal);
	return MOSQ_ERR_AUTH;
}

/* What the broker does with an error that is not MOSQ_ERR_ACL_DENIED is to close the connection. */
static int on_publish(const struct principal *principal, const struct mosquitto_evt_acl_check *asked)
{
	if(policies_allow(principal, 'P', "topic", asked->topic)
			&& (!asked->retain || policies_allow(principal, 'T', "topic", asked->topic))){
		return MOSQ_ERR_SUCCESS;
	}
	mosquitto_log_printf(MOSQ_LOG_NOTICE, "Denied PUBLISH of %s to %s.", principal->client_id, asked->topic);
	return MOSQ_ERR_AUTH;
}

static int on_subscribe(const struct principal *principal, const struct mosquitto_evt_acl_check *asked)
{
	const char *problem = NULL;

	if(quotas && !quota_allows_subscription(quotas)){
		problem = "Throttled";
	}else if(!policies_allow(principal, 'S', "topicfilter", asked->topic)){
		problem = "Denied";
	}
	if(!problem) return MOSQ_ERR_SUCCESS;
	mosquitto_log_printf(MOSQ_LOG_NOTICE, "%s SUBSCRIBE of %s to %s.", problem, principal->client_id, asked->topic);
	return MOSQ_ERR_ACL_DENIED;
}

static int on_access(int event, void *data, void *unused)
{
	struct mosquitto_evt_acl_check *asked = data;
	struct principal principal;

	if(is_own(asked->client)) return MOSQ_ERR_SUCCESS;
	policies_refresh(policies);
	if(!parse_user(&principal, mosquitto_client_id(asked->client), mosquitto_client_username(asked->client))){
		return MOSQ_ERR_ACL_DENIED;
	}
	switch(asked->access){
		case MOSQ_ACL_WRITE: return on_publish(&principal, asked);
		case MOSQ_ACL_SUBSCRIBE: return on_subscribe(&principal, asked);
		case MOSQ_ACL_READ:
			return policies_allow(&principal, 'R', "topic", asked->topic) ? MOSQ_ERR_SUCCESS : MOSQ_ERR_ACL_DENIED;
		default: return MOSQ_ERR_SUCCESS;
	}
}

int mosquitto_plugin_version(int count, const int *versions)
{
	int i;

	for(i = 0; i < count; i++){
		if(versions[i] == 5) return 5;
	}
	return -1;
}

int mosquitto_plugin_init(mosquitto_plugin_id_t *id, void **unused, struct mosquitto_opt *options, int count)
{
	int i;

	plugin = id;
	for(i = 0; i < count; i++){
		if(!strcmp(options[i].key, "policies")) policies = strdup(options[i].value);
		if(!strcmp(options[i].key, "quotas")) quotas = strdup(options[i].value);
	}
	if(policies){
		mosquitto_callback_register(id, MOSQ_EVT_BASIC_AUTH, on_connect, NULL, NULL);
		mosquitto_callback_register(id, MOSQ_EVT_ACL_CHECK, on_access, NULL, NULL);
	}
	return mosquitto_callback_register(id, MOSQ_EVT_CONTROL, on_control, TOPIC, NULL);
}

int mosquitto_plugin_cleanup(void *unused, struct mosquitto_opt *options, int count)
{
	if(policies){
		mosquitto_callback_unregister(plugin, MOSQ_EVT_BASIC_AUTH, on_connect, NULL);
		mosquitto_callback_unregister(plugin, MOSQ_EVT_ACL_CHECK, on_access, NULL);
	}
	return mosquitto_callback_unregister(plugin, MOSQ_EVT_CONTROL, on_control, TOPIC);
}
