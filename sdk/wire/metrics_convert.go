package wire

import (
	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/wire/driverv1"
)

var resultStatuses = enum[sdk.ResultStatus, driverv1.ResultStatus]{
	sdk.ResultOK:      driverv1.ResultStatus_RESULT_STATUS_OK,
	sdk.ResultNoData:  driverv1.ResultStatus_RESULT_STATUS_NO_DATA,
	sdk.ResultPartial: driverv1.ResultStatus_RESULT_STATUS_PARTIAL,
	sdk.ResultStale:   driverv1.ResultStatus_RESULT_STATUS_STALE,
}

func queryToWire(q sdk.Query) *driverv1.QueryRequest {
	return &driverv1.QueryRequest{
		Text: q.Text, At: timeToWire(q.At), Window: durationToWire(q.Window), Step: durationToWire(q.Step),
		InstanceLabel: q.InstanceLabel,
	}
}

func queryFromWire(w *driverv1.QueryRequest) sdk.Query {
	return sdk.Query{
		Text: w.GetText(), At: timeFromWire(w.GetAt()), Window: w.GetWindow().AsDuration(), Step: w.GetStep().AsDuration(),
		InstanceLabel: w.GetInstanceLabel(),
	}
}

func resultToWire(r sdk.Result) *driverv1.QueryResponse {
	return &driverv1.QueryResponse{
		Status: resultStatuses.toWire(r.Status),
		Series: each(r.Series, func(s sdk.Series) *driverv1.Series {
			return &driverv1.Series{
				Labels: labels(s.Labels), Instance: text(s.Instance),
				Samples: each(s.Samples, func(p sdk.Sample) *driverv1.Sample {
					return &driverv1.Sample{At: timeToWire(p.At), Value: p.Value}
				}),
			}
		}),
	}
}

func resultFromWire(w *driverv1.QueryResponse) sdk.Result {
	return sdk.Result{
		Status: resultStatuses.fromWire(w.GetStatus()),
		Series: each(w.GetSeries(), func(s *driverv1.Series) sdk.Series {
			return sdk.Series{
				Labels: s.GetLabels(), Instance: s.GetInstance(),
				Samples: each(s.GetSamples(), func(p *driverv1.Sample) sdk.Sample {
					return sdk.Sample{At: timeFromWire(p.GetAt()), Value: p.GetValue()}
				}),
			}
		}),
	}
}
