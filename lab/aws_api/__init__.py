"""The lab's stand-in for the AWS API: moto, with what moto lacks or is too lenient about.

Each service's module says what it adds; everything else is moto's own behaviour. boto3 reaches it through
`AWS_ENDPOINT_URL`. What is under `/_lab/` is the lab's control, not AWS.
"""
